// The divider between a photograph and its cut-out: dragged, or moved with the keyboard.

const STEP = 2;
const LEAP = 10;

/** Let the divider of a stage be moved; its place is the custom property --split. */
export function makeMovable(stage, divider) {
  const moveTo = (percent) => {
    const place = Math.round(Math.min(100, Math.max(0, percent)));
    stage.style.setProperty("--split", `${place}%`);
    divider.setAttribute("aria-valuenow", place);
    divider.setAttribute("aria-valuetext", `${place} % original, ${100 - place} % cut-out`);
  };
  const follow = ({ clientX }) => {
    const { left, width } = stage.getBoundingClientRect();
    moveTo(((clientX - left) / width) * 100);
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stage.parentElement.dataset.phase !== "done") return;
    event.preventDefault(); // no selection, no dragging of the picture
    divider.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });

  divider.addEventListener("keydown", (event) => {
    const now = Number(divider.getAttribute("aria-valuenow"));
    const step = event.shiftKey ? LEAP : STEP;
    const places = {
      ArrowLeft: now - step,
      ArrowDown: now - step,
      ArrowRight: now + step,
      ArrowUp: now + step,
      PageDown: now - LEAP,
      PageUp: now + LEAP,
      Home: 0,
      End: 100,
    };
    if (event.key in places) {
      event.preventDefault();
      moveTo(places[event.key]);
    }
  });
  moveTo(50);
}
