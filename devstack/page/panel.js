// The side panel's door: beside the page where there is room, over it on a phone.

const WIDE = "(min-width: 70rem)";

/** Let the panel be opened and closed; with room for both it starts open. */
export function setUpPanel() {
  const panel = document.getElementById("panel");
  const toggle = document.getElementById("panel-toggle");
  const close = document.getElementById("panel-close");
  const wide = matchMedia(WIDE);
  const show = (open) => {
    panel.hidden = !open;
    toggle.setAttribute("aria-expanded", open);
    document.body.classList.toggle("with-panel", open);
    for (const covered of document.querySelectorAll(".bar, main")) {
      covered.inert = open && !wide.matches;
    }
  };
  toggle.addEventListener("click", () => {
    show(panel.hidden);
    if (!panel.hidden) close.focus();
  });
  const dismiss = () => {
    show(false);
    toggle.focus();
  };
  close.addEventListener("click", dismiss);
  panel.addEventListener("keydown", ({ key }) => key === "Escape" && dismiss());
  wide.addEventListener("change", () => show(!panel.hidden));
  show(wide.matches);
}
