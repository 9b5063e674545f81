// Draws a timeline: scale, ticks in the viewer's zone, marks joined where they lie over each other.
// Everything that is written comes as text and is set as text.
const NS = "http://www.w3.org/2000/svg";
const UNITS = [  // milliseconds, and how such a tick is written
  1e3, 5e3, 15e3, 30e3, 6e4, 3e5, 9e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5,
];
const DAY = 864e5, SHORTEST = 2000;

export default {
  props: { drawing: Object, chosen: Number },
  emits: ["moment", "mark"],
  template: `
    <div class="pk-timeline">
      <svg ref="svg" class="pk-timeline-svg" role="group" tabindex="0"
        aria-describedby="pk-timeline-keys" :aria-label="'Timeline of ' + drawing.cluster"
        @wheel.prevent="wheeled" @pointerdown="pressed" @pointermove="moved" @pointerup="released"
        @pointerleave="left" @pointercancel="left" @keydown="typed"></svg>
      <div ref="tip" class="pk-tip" role="status" hidden></div>
      <p id="pk-timeline-keys" class="sr-only">Arrow keys move, plus and minus zoom, 0 shows all,
        Tab goes from mark to mark, Enter chooses.</p>
    </div>`,
  mounted() {
    this.whole();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.$refs.svg);
  },
  unmounted() { this.observer.disconnect(); },
  watch: { drawing() { this.keep(); this.draw(); }, chosen() { this.draw(); } },
  methods: {
    whole() { this.from = this.drawing.start; this.to = this.drawing.end; this.draw(); },
    last(ms) {
      this.to = this.drawing.end;
      this.from = this.drawing.now - ms;
      this.keep(); this.draw();
    },
    zoom(factor, at) {
      const middle = at ?? (this.from + this.to) / 2;
      const span = Math.max(SHORTEST, (this.to - this.from) * factor);
      const share = (middle - this.from) / (this.to - this.from);
      this.from = middle - span * share;
      this.to = this.from + span;
      this.keep(); this.draw();
    },
    pan(share) {
      const by = (this.to - this.from) * share;
      this.from += by; this.to += by;
      this.keep(); this.draw();
    },
    keep() {  // within what there is
      const { start, end } = this.drawing;
      const span = Math.min(this.to - this.from, end - start);
      this.from = Math.min(Math.max(this.from, start), end - span);
      this.to = this.from + span;
    },
    x(ms) { return this.gutter + ((ms - this.from) / (this.to - this.from)) * this.room; },
    ms(x) { return this.from + ((x - this.gutter) / this.room) * (this.to - this.from); },
    place(event) { return event.clientX - this.$refs.svg.getBoundingClientRect().left; },
    wheeled(event) {
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        this.pan((event.deltaX || event.deltaY) / 1000);
      } else {
        this.zoom(Math.exp(event.deltaY / 400), this.ms(this.place(event)));
      }
    },
    pressed(event) {
      if (event.button !== 0) return;
      this.drag = { x: this.place(event), from: this.from, moved: false };
    },
    moved(event) {
      const x = this.place(event);
      if (this.drag && event.buttons) {
        const by = x - this.drag.x;
        if (Math.abs(by) > 4) this.drag.moved = true;
        if (this.drag.moved) {
          const span = this.to - this.from;
          this.from = this.drag.from - (by / this.room) * span;
          this.to = this.from + span;
          this.keep(); this.draw();
        }
        return;
      }
      this.hover(x);
    },
    released(event) {
      const drag = this.drag;
      this.drag = null;
      if (!drag || drag.moved) return;
      const mark = event.target.closest?.("[data-mark]");
      if (mark) return this.choose(mark.dataset.mark);
      const x = this.place(event);
      if (x >= this.gutter) this.$emit("moment", Math.round(this.ms(x)));
    },
    left() { this.drag = null; this.hair?.setAttribute("visibility", "hidden"); this.hide(); },
    typed(event) {
      const keys = {
        ArrowLeft: () => this.pan(-0.1), ArrowRight: () => this.pan(0.1),
        PageUp: () => this.pan(-0.8), PageDown: () => this.pan(0.8),
        "+": () => this.zoom(0.7), "=": () => this.zoom(0.7), "-": () => this.zoom(1 / 0.7),
        0: () => this.whole(),
        Enter: () => {
          const mark = event.target.dataset?.mark;
          if (mark !== undefined) this.choose(mark);
          else this.$emit("moment", Math.round((this.from + this.to) / 2));
        },
      };
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    },
    choose(key) {
      const group = this.groups[key];
      if (group.length > 1 && this.to - this.from > SHORTEST * 2 &&
          group.at(-1).at - group[0].at > SHORTEST / 60) {  // closer, they lie apart
        const room = Math.max(SHORTEST, (group.at(-1).at - group[0].at) * 3);
        const middle = (group.at(-1).at + group[0].at) / 2;
        this.from = middle - room / 2; this.to = middle + room / 2;
        this.keep(); this.draw();
        return;
      }
      // Of accidents at one moment the first: what is before it is before them all.
      const { at, target, before } = group.find((mark) => mark.before) ?? group.at(-1);
      this.$emit("mark", { at, target, before });
    },
    hover(x) {
      if (!this.hair) return;
      const inside = x >= this.gutter;
      this.hair.setAttribute("visibility", inside ? "visible" : "hidden");
      if (!inside) return;
      this.hair.setAttribute("x1", x); this.hair.setAttribute("x2", x);
      this.clock.textContent = this.moment(this.ms(x));
      const near = x > this.width - 170;
      this.clock.setAttribute("x", near ? x - 6 : x + 6);
      this.clock.setAttribute("text-anchor", near ? "end" : "start");
    },
    year(date) {  // is said where it is another
      const now = new Date(this.drawing.now);
      return date.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
    },
    moment(ms) {
      const fine = this.to - this.from < 120000;
      const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
        second: "2-digit", hourCycle: "h23", ...(fine ? { fractionalSecondDigits: 1 } : {}),
        ...this.year(new Date(ms)) };
      return new Date(ms).toLocaleString("en-GB", options);
    },
    show(title, words, x, y) {
      const tip = this.$refs.tip;
      tip.replaceChildren();
      const head = document.createElement("strong");
      head.textContent = title;
      tip.append(head);
      for (const word of words) {
        const line = document.createElement("div");
        line.textContent = word;
        tip.append(line);
      }
      tip.hidden = false;
      const most = this.width - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(4, Math.min(x - tip.offsetWidth / 2, most))}px`;
      tip.style.top = `${y + 16}px`;
    },
    hide() { if (this.$refs.tip) this.$refs.tip.hidden = true; },
    told(element, title, words, x, y) {
      element.addEventListener("pointerenter", () => this.show(title, words, x, y));
      element.addEventListener("pointerleave", () => this.hide());
      element.addEventListener("focus", () => this.show(title, words, x, y));
      element.addEventListener("blur", () => this.hide());
    },
    put(name, attributes, text) {
      const made = document.createElementNS(NS, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (text !== undefined) made.textContent = text;
      this.into.append(made);
      return made;
    },
    draw() {
      const svg = this.$refs.svg;
      if (!svg || !svg.clientWidth) return;
      const focused = document.activeElement?.dataset?.mark;
      this.width = svg.clientWidth;
      this.gutter = this.width < 560 ? 62 : 104;
      this.room = Math.max(50, this.width - this.gutter - 10);
      this.into = svg; this.groups = {};
      svg.replaceChildren();
      this.hide();
      let y = 40;
      const clip = this.put("clipPath", { id: `clip-${this._uid ?? "t"}` });
      this.into = clip;
      const all = this.put("rect", { x: this.gutter, y: 0, width: this.room + 10, height: 2000 });
      this.into = svg;
      const lines = this.put("g", { class: "lines" });
      const rows = this.drawing.rows.filter((row) => row.marks.length);
      for (const row of rows.filter((r) => r.kind === "event")) y = this.row(row, y);
      for (const lane of this.drawing.lanes) y = this.lane(lane, y);
      for (const row of rows.filter((r) => r.kind !== "event")) y = this.row(row, y);
      if (this.drawing.bins.length) y = this.activity(y);
      svg.setAttribute("height", y + 6);
      svg.dataset.view = `${Math.round(this.from)}-${Math.round(this.to)}`;
      this.into = lines;
      this.ticks(y);
      this.into = svg;
      this.cursors(y);
      if (focused !== undefined) svg.querySelector(`[data-mark="${CSS.escape(focused)}"]`)?.focus();
    },
    label(text, y) {
      const short = this.width < 560 ? 9 : 16;
      const shown = text.length > short ? `${text.slice(0, short - 1)}…` : text;
      this.put("text", { x: 2, y, class: "label" }, shown);
    },
    lane(lane, y) {
      this.label(lane.title, y + 15);
      this.put("rect", { x: this.gutter, y, width: this.room, height: 22, rx: 4, class: "ground" });
      for (const band of lane.bands) this.stretch(band, y, "band");
      for (const gap of lane.gaps) this.stretch(gap, y, "gap");
      return y + 32;
    },
    stretch(one, y, kind) {
      const left = Math.max(this.gutter, this.x(one.start));
      const right = Math.min(this.gutter + this.room, this.x(one.end));
      if (right < this.gutter || left > this.gutter + this.room) return;
      const width = Math.max(kind === "gap" ? 4 : 3, right - left);
      const made = this.put("rect", { x: left, y, width, height: 22, rx: Math.min(4, width / 2),
        class: kind, tabindex: kind === "gap" ? 0 : -1, role: "img",
        "aria-label": `${one.title}: ${one.words.join(", ")}` });
      this.told(made, one.title, one.words, (left + right) / 2, y + 22);
    },
    row(row, y) {
      this.label(row.title, y + 13);
      let group = [];
      const flush = () => { if (group.length) this.mark(row, group, y + 9); group = []; };
      for (const mark of row.marks) {
        if (mark.at < this.from || mark.at > this.to) continue;
        if (group.length && this.x(mark.at) - this.x(group[0].at) > 13) flush();
        group.push(mark);
      }
      flush();
      return y + 25;
    },
    mark(row, group, y) {
      const at = (this.x(group[0].at) + this.x(group.at(-1).at)) / 2;
      const key = `${row.kind}-${group[0].at}-${group.length}`;
      this.groups[key] = group;
      const bad = group.some((m) => m.good === false), good = group.every((m) => m.good === true);
      const many = group.length > 1;
      const title = many ? `${group.length} ${row.title.toLowerCase()}` : group[0].title;
      const words = many
        ? [...group.slice(-6).map((m) => m.title), ...(group.length > 6 ? ["…"] : []),
          "choose it to come closer"]
        : group[0].words;
      const outer = this.into;
      const g = this.put("g", { tabindex: 0, role: "button", "data-mark": key,
        class: `mark ${row.kind}${bad ? " bad" : good ? " good" : ""}`,
        "aria-label": `${title}: ${words.join(", ")}` });
      this.into = g;
      this.put("rect", { x: at - 12, y: y - 12, width: 24, height: 24, class: "touch" });
      this.shape(row.kind, at, y, bad);
      if (many) this.put("text", { x: at + 9, y: y + 4, class: "count" }, `${group.length}`);
      this.into = outer;
      this.told(g, title, words, at, y + 6);
    },
    shape(kind, x, y, bad) {
      const d = {
        backup: `M${x - 6} ${y - 6}h12v12h-12z`,
        dump: `M${x} ${y - 7}l7 12h-14z`,
        point: `M${x - 4} ${y + 7}v-14l10 4l-10 4`,
        event: `M${x} ${y - 8}l8 8l-8 8l-8 -8z`,
      }[kind];
      if (d) this.put("path", { d, class: "shape" });
      else this.put("circle", { cx: x, cy: y, r: 7, class: "shape" });
      if (kind === "drill" && !bad) {
        this.put("path", { d: `M${x - 3} ${y}l2.4 2.6l4 -5`, class: "sign" });
      } else if (bad || kind === "event") {
        this.put("path", { d: `M${x - 2.5} ${y - 2.5}l5 5m0 -5l-5 5`, class: "sign" });
      }
    },
    activity(y) {
      const height = 36, columns = Math.max(1, Math.floor(this.room / 4));
      const counts = new Float64Array(columns);
      const wide = (this.to - this.from) / columns;
      for (const [start, end, count] of this.drawing.bins) {
        if (end < this.from || start > this.to) continue;
        const first = Math.max(0, Math.floor((start - this.from) / wide));
        const last = Math.min(columns - 1, Math.floor((end - this.from) / wide));
        const over = Math.max(1, (end - start) / wide);
        for (let at = first; at <= last; at++) counts[at] += count / over;
      }
      const most = Math.max(...counts, 1e-9);
      this.label("WAL", y + 20);
      counts.forEach((count, at) => {
        if (!count) return;
        const tall = Math.max(1.5, (count / most) * height);
        this.put("rect", { x: this.gutter + at * 4, y: y + height - tall, width: 3, height: tall,
          class: "wal" });
      });
      const words = `most: ${most < 1 ? "<1" : Math.round(most)} ${this.drawing.binWords} in ${this.long(wide)}`;
      const zone = this.put("rect", { x: this.gutter, y, width: this.room, height, class: "touch",
        role: "img", "aria-label": `WAL archived, ${words}` });
      this.told(zone, "WAL, by when it was archived", [words], this.gutter + this.room / 2, y + height - 10);
      return y + height + 8;
    },
    long(ms) {
      const s = ms / 1000;
      if (s < 90) return `${Math.max(1, Math.round(s))} s`;
      if (s < 5400) return `${Math.round(s / 60)} min`;
      return s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
    },
    ticks(bottom) {
      const wanted = ((this.to - this.from) / this.room) * (this.width < 560 ? 84 : 104);
      const step = UNITS.find((unit) => unit >= wanted) ?? Math.ceil(wanted / DAY) * DAY;
      const offset = new Date(this.from).getTimezoneOffset() * 60000;
      for (let at = Math.ceil((this.from - offset) / step) * step + offset; at < this.to; at += step) {
        const date = new Date(at), x = this.x(at);
        this.put("line", { x1: x, x2: x, y1: 32, y2: bottom, class: "tick" });
        const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...this.year(date) });
        const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit",
          hourCycle: "h23", ...(step < 60000 ? { second: "2-digit" } : {}) });
        const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
        if (x > this.gutter + this.room - 30) continue;
        this.put("text", { x: x + 3, y: 28, class: "time" }, step >= DAY || midnight ? day : time);
        if (step < DAY && (midnight || x - this.gutter < 110) && !this.dated) {
          this.put("text", { x: x + 3, y: 13, class: "day" }, day);
          this.dated = true;
        }
      }
      this.dated = false;
    },
    cursors(bottom) {
      const now = this.x(this.drawing.now);
      if (now >= this.gutter && now <= this.width) {
        this.put("line", { x1: now, x2: now, y1: 18, y2: bottom, class: "now" });
        this.put("text", { x: now - 3, y: 13, class: "time", "text-anchor": "end" }, "now");
      }
      if (this.chosen) {
        const x = this.x(this.chosen);
        if (x >= this.gutter && x <= this.width) {
          this.put("line", { x1: x, x2: x, y1: 0, y2: bottom, class: "chosen" });
          this.put("path", { d: `M${x - 6} 0h12l-6 8z`, class: "chosen-head" });
        }
      }
      this.hair = this.put("line", { x1: 0, x2: 0, y1: 32, y2: bottom, class: "hair",
        visibility: "hidden" });
      this.clock = this.put("text", { x: 0, y: bottom - 2, class: "clock" }, "");
    },
  },
};
