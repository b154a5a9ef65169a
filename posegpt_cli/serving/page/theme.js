// Light or dark: the system's choice, unless the button says otherwise.

const BACKGROUNDS = { light: '#eef1f5', dark: '#1b1e24' };

export function setUpTheme(button, onChange) {
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  const stored = () => { try { return localStorage.getItem('theme'); } catch { return null; } };
  const current = () => stored() ?? (system.matches ? 'dark' : 'light');

  function apply() {
    document.documentElement.dataset.theme = current();
    onChange(BACKGROUNDS[current()]);
  }
  button.onclick = () => {
    const next = current() === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem('theme', next); } catch { /* a private window: it holds until the page is closed */ }
    apply();
  };
  system.addEventListener('change', apply);
  document.documentElement.dataset.theme = current();
  return { background: () => BACKGROUNDS[current()] };
}
