// What the browser alone knows: the viewer's zone, and light or dark. Runs before anything is drawn.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  document.cookie =
    `pgkeep_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=strict`;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => {
    try { return localStorage.getItem("pgkeep-theme"); } catch { return null; }
  };
  const isDark = () => {
    const own = remembered();
    return own ? own === "dark" : system.matches;
  };
  const apply = () => {
    const dark = isDark();
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    if (window.Quasar) window.Quasar.Dark.set(dark);
  };
  const toggle = () => {
    try { localStorage.setItem("pgkeep-theme", isDark() ? "light" : "dark"); } catch { /* private */ }
    apply();
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // no clipboard without TLS except on this host
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const logIn = async (name, password) => {
    let answer;
    try {
      answer = await fetch("/api/session", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ name, password }),
        signal: AbortSignal.timeout(30000),
      });
    } catch (error) {
      const late = error.name === "TimeoutError";
      return late ? "the service has not answered in time: try again" : "the service does not answer";
    }
    if (answer.ok) return "";
    try {
      const said = await answer.json();
      return said.hint ? `${said.message}. ${said.hint}` : said.message;
    } catch {
      return `the service answered with status ${answer.status}`;
    }
  };
  const offerLogIn = () => {
    const form = document.querySelector("form[data-next]");
    if (!form) return;
    const button = form.querySelector("button"), trouble = form.querySelector("[role=alert]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      const said = await logIn(form.elements.user.value, form.elements.password.value);
      button.disabled = false;
      if (!said) {
        location.replace(form.dataset.next);
        return;
      }
      trouble.textContent = said[0].toUpperCase() + said.slice(1);
      trouble.hidden = false;
      form.elements.password.value = "";
      form.elements.password.focus();
    });
  };
  window.pgkeep = { toggle, copy, apply };
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  apply();
  addEventListener("DOMContentLoaded", offerLogIn);
  addEventListener("load", apply);  // the framework has set its own idea by then
})();
