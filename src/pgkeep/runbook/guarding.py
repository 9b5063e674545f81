"""What to do when backups, keys or the config are attacked or lost. Pure."""

from pgkeep.runbook.commands import ASK_FOR_KEY, SECONDS, UNMEASURED, Commands
from pgkeep.runbook.facts import Place
from pgkeep.runbook.page import Block, Section, Step, Words
from pgkeep.runbook.rebuilding import HEAR, archive_again, key


def ransom(c: Commands) -> Section:
    locked = [place for place in c.facts.places if place.locks]
    steps = [step for place in locked for step in _behind_the_attack(c, place)]
    if not locked:
        steps.append(
            Words(
                "NO repository of this cluster locks its objects: whoever had this host's "
                "credentials could delete all of them. What is left is what they could not reach."
            )
        )
    clean = ("restore", "--target-dir", c.directory, "--to", "TIME")
    otherwise = "Otherwise: is" if locked else "Is"
    for place in c.facts.places:
        if not place.locks:
            text = f"{otherwise} repository {place.name or place.address} whole? Every byte is " \
                "read. This needs the config."  # fmt: skip
            command = c.pgkeep("verify", "--level", "bytes", repository=place.name)
            restored = [c.pgkeep(*clean, *more, repository=place.name)
                        for more in (("--dry-run",), ())]  # fmt: skip
            steps.append(Step(text, (command,), UNMEASURED))
            steps.append(
                Step("If it is: restore from it. TIME is before it began, with its zone, like "
                     "'2026-11-20 03:14:00+00'.", tuple(restored), c.restored_in())
            )  # fmt: skip
    return Section("ransomware", "Somebody encrypted or deleted things on purpose", (
        Words("Cut the network first; take every key out of use that was on the attacked hosts. "
              "Work from a clean host, without a data directory on it, with credentials that can "
              "only read. When did it begin? Restore to a moment before that."),
        *steps,
        Step("Start it from the same shell, where nobody can connect yet. Is the data as it should "
             "be?", (c.start,), c.restored_in()),
        *(Step(f"With a new key that can write: make the locked versions in repository "
               f"{place.name or place.address} the current ones again. Nothing is deleted.",
               (c.bare(place.address, "hidden", "--bring-back"),), UNMEASURED)
          for place in locked),
        *archive_again(c),
    ))  # fmt: skip


def _behind_the_attack(c: Commands, place: Place) -> list[Block]:
    before = f"{place.address}{'&' if '?' in place.address else '?'}versions=before:MOMENT"
    title = f"repository {place.name or place.address}"
    words = ("restore", "--target-dir", c.directory)
    return [
        *key(place, title),
        Step(f"R{title[1:]} locks its objects: what was hidden or overwritten, and since when? If "
             "something was, this ends with the error tampered-with, and shows an address with "
             f"versions=before:MOMENT. It needs {place.credentials}.",
             (c.bare(place.address, "hidden"),), UNMEASURED),
        Step("Read it as it was before that MOMENT (like 2026-11-20T03:14:07Z).",
             (c.bare(before, "list"),), SECONDS),
        Step(f"{HEAR} For an earlier state of the database add --to TIME.",
             (c.bare(before, *words, "--dry-run"), c.bare(before, *words)), c.restored_in()),
    ]  # fmt: skip


def repository(c: Commands) -> Section:
    places = c.facts.places
    steps: list[Block] = [
        Step("Look at it: what is damaged, and which backups need it? An error that it is not "
             "there means that it is lost.",
             (c.pgkeep("verify", "--level", "bytes"), c.pgkeep("list")), UNMEASURED),
    ]  # fmt: skip
    if len(places) > 1:
        first, *others = places
        steps += [
            Step("Mend it from the other copies.", (c.pgkeep("verify", "--repair"),), UNMEASURED),
            *(Step(f"If {first.name} is lost altogether: make it anew from {other.name}. Its "
                   "place must be empty. The recovery key that it shows is a new one.",
                   (c.pgkeep("copy", "--from", other.name, "--to", first.name),), UNMEASURED)
              for other in others[:1]),
        ]  # fmt: skip
    else:
        steps += [
            Words("There is no other copy to mend it from."),
            Step("If it is lost altogether: make a new one in its place, which must be empty. The "
                 "recovery key that it may show is a new one.",
                 (c.pgkeep("init", "--apply"),), SECONDS),
        ]  # fmt: skip
    steps += [
        Step("In any case: a new backup. It refers to nothing that is damaged.",
             (c.pgkeep("backup", "--type", "full"),), UNMEASURED),
        Step("Is the server archiving into it? What waited was kept by the server until now.",
             (c.pgkeep("check"), c.pgkeep("wal", "status")), SECONDS),
    ]  # fmt: skip
    return Section("repository-damaged", "The repository is damaged or gone, the server lives", (
        Words("The database is not in danger, but nothing protects it. Delete nothing in the "
              "repository; what pgkeep list shows can be restored as before."),
        *steps,
    ))  # fmt: skip


def keys(c: Commands) -> Section:
    steps: list[Block] = []
    for place in c.facts.places:
        if place.encrypted is False:
            continue
        steps += [
            Step(f"Which slots does repository {place.name or place.address} have? Compare with "
                 "the list at the end of this page: who has what opens one of them?",
                 (c.bare(place.address, "key", "list"),), SECONDS),
            Step("Type one of these, it is not shown; then give the repository a new "
                 "passphrase, which is asked for twice.",
                 (ASK_FOR_KEY, c.bare(place.address, "key", "add")), SECONDS),
        ]  # fmt: skip
    if not steps:
        return Section("key-lost", "What opens the repository is lost", (
            Words("No repository of this cluster is encrypted: no key is needed."),))  # fmt: skip
    return Section("key-lost", "What opens the repository is lost", (
        Words("One key slot is enough, passphrase or recovery key; each copy has its own. While "
              "any host's config still opens the repository, do this from there."),
        *steps,
        Step("Write the new passphrase to where the config finds it; the section \"Where the "
             "backups are\" says where. Does it open everything, in a new shell?",
             (c.pgkeep("check"),), SECONDS),
        Step("Make a new recovery key for each repository, and print it.",
             tuple(c.pgkeep("key", "recovery", repository=place.name)
                   for place in c.facts.places if place.encrypted is not False), SECONDS),
        Words("If nobody has any of them, what is stored can never be read again. The server "
              "lives: give the config's [repository] another, empty url, then:"),
        Step("A new repository, and a backup at once. Print the recovery key.",
             (c.pgkeep("init", "--apply"), c.pgkeep("backup"), c.pgkeep("check")), UNMEASURED),
    ))  # fmt: skip


def config(c: Commands) -> Section:
    return Section("config-lost", "The config of pgkeep is lost, the server lives", (
        Words(f"Without {c.facts.config_file} the server cannot archive: it keeps its WAL until "
              "its disk is full. Type the file from the section \"The config\" of this page, for "
              "the user that owns the data directory, with the secrets that are named there."),
        Step("Does pgkeep understand it, and reach everything?", (c.pgkeep("check"),), SECONDS),
        Step("Is the WAL that waited archived by now, without a hole?",
             (c.pgkeep("wal", "status"),), SECONDS),
        Step("A backup proves it.", (c.pgkeep("backup"),), UNMEASURED),
    ))  # fmt: skip
