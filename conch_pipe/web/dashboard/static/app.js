"use strict";
// What the pages do better with script; each of them works without.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  // Times: the viewer's zone instead of UTC, which becomes the title.
  const pad = (number) => String(number).padStart(2, "0");
  const local = (at) =>
    `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ` +
    `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  const zone = (at) =>
    new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at).find((one) => one.type === "timeZoneName").value;
  const roughly = (seconds) => {
    if (seconds < 60) return `${Math.floor(seconds)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  };
  const away = (at) => {
    const apart = (Date.now() - at) / 1000;
    const words = roughly(Math.abs(apart));
    return words === "0 s" ? "now" : apart > 0 ? `${words} ago` : `in ${words}`;
  };
  const utc = (at) => at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  const times = (within) => {
    for (const one of within.querySelectorAll("time[datetime]")) {
      const at = new Date(one.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      if (one.hasAttribute("data-away")) {
        one.textContent = away(at);
        one.title = `${local(at)} ${zone(at)}, ${utc(at)}`;
      } else {
        one.textContent = one.hasAttribute("data-short") ? local(at).slice(11, 16) : local(at);
        one.title = utc(at);
      }
    }
  };
  times(document);
  setInterval(() => {
    if (!document.hidden) times(document);
  }, 20000);
  for (const one of document.querySelectorAll("[data-zone]")) {
    const [place, short] = [Intl.DateTimeFormat().resolvedOptions().timeZone, zone(new Date())];
    one.textContent = place === short ? place : `${place} (${short})`;
  }

  // Times to filter by are UTC in an address, and the viewer's in the form.
  for (const one of document.querySelectorAll("input[data-moment]")) {
    const given = one.dataset.moment;
    const at = new Date(/(Z|[+-]\d\d:?\d\d)$/.test(given) ? given : `${given}Z`);
    if (given && !Number.isNaN(at.getTime())) one.value = local(at).slice(0, 16).replace(" ", "T");
  }
  document.addEventListener("formdata", (event) => {
    for (const one of event.target.querySelectorAll("input[data-moment]")) {
      const at = new Date(one.value);
      if (one.value && !Number.isNaN(at.getTime())) event.formData.set(one.name, at.toISOString().slice(0, 16) + "Z");
    }
    // An address says only what was chosen.
    if (event.target.method === "get") {
      for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
    }
  });

  // A choice that is sent as soon as it is made; keys that walk through the options do not count as one.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });

  // Text that is copied.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copies]");
    if (!button) return;
    const said = button.textContent;
    navigator.clipboard.writeText(button.dataset.copies).then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Not allowed here"; },
    ).finally(() => setTimeout(() => { button.textContent = said; }, 2000));
  });

  // On a narrow screen a filter that is not used is closed.
  const narrow = matchMedia("(max-width: 52rem)");
  const fold = () => {
    for (const one of document.querySelectorAll(".filtering")) one.open = !narrow.matches || one.hasAttribute("data-used");
  };
  narrow.addEventListener("change", fold);
  fold();

  // The menu of a narrow screen closes with Escape and with a click elsewhere.
  const menu = document.querySelector(".menu");
  if (menu) {
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
    document.addEventListener("click", (event) => {
      if (menu.open && !menu.contains(event.target)) menu.open = false;
    });
  }

  // What refreshes itself: not while nobody looks, not while somebody works in it, and silently when nothing changed.
  const live = document.getElementById("live");
  const stale = document.getElementById("stale");
  const last = new WeakMap();
  const refreshing = (element) => (element.getAttribute("hx-trigger") || "").includes("every");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (refreshing(event.target) && (document.hidden || event.target.querySelector("details[open], :focus"))) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      times(document);
      for (const one of document.querySelectorAll("[hx-trigger*=wake]")) htmx.trigger(one, "wake");
    }
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target } = event.detail;
    if (xhr.status === 200 && refreshing(target)) {
      stale.textContent = "";
      if (last.get(target) === xhr.responseText) event.detail.shouldSwap = false;
      last.set(target, xhr.responseText);
    }
  });
  document.addEventListener("htmx:load", (event) => {
    const fresh = event.detail.elt;
    if (fresh === document.body) return; // the page itself
    times(fresh.parentElement || fresh);
    const says = fresh.matches("[data-says]") ? fresh : fresh.querySelector("[data-says]");
    if (says && live.textContent !== says.dataset.says) live.textContent = says.dataset.says;
  });
  for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => {
      if (refreshing(event.target)) stale.textContent = `Not up to date since ${local(new Date()).slice(11, 16)}: the service does not answer. Trying again.`;
    });
  }
})();
