// The theme: as the system, light or dark. A classic script in the head, so that the page is never drawn in the wrong one.
"use strict";
(() => {
  const NAMES = { auto: "as the system", light: "light", dark: "dark" };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      const theme = localStorage.getItem("theme");
      return Object.hasOwn(NAMES, theme) ? theme : "auto";
    } catch {
      return "auto";
    }
  };
  let theme = stored();
  const apply = () => {
    const dark = theme === "dark" || (theme === "auto" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  system.addEventListener("change", apply);
  apply();
  window.theme = {
    name: () => NAMES[theme],
    next() {
      theme = { auto: "light", light: "dark", dark: "auto" }[theme];
      try {
        localStorage.setItem("theme", theme);
      } catch {
        // Private windows may keep nothing; the theme lasts until the page is left.
      }
      apply();
    },
  };
})();
