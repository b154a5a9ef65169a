// Keyboard shortcuts: one table for what they do and for the page's list of them.

// actions: functions by name; keys that are typed into a field are left alone.
export function listenToKeys(actions, dialog) {
  const table = [
    [['Space'], 'play or pause', actions.play],
    [['←', '→'], 'one frame back or on; ten with Shift', null],
    [['Home', 'End'], 'first or last frame', null],
    [['Enter'], 'generate', actions.generate],
    [['Esc'], 'stop generating', actions.stop],
    [['R'], 'another seed', actions.reroll],
    [['A'], 'add a segment', actions.add],
    [['Delete'], 'remove the segment', actions.remove],
    [['['], 'slower', () => actions.speed(-1)],
    [[']'], 'faster', () => actions.speed(1)],
    [['L'], 'camera follows or stays', actions.follow],
    [['V'], 'camera back to the front', actions.view],
    [['F'], 'go on from this motion', actions.goOn],
    [['C'], 'copy the link', actions.share],
    [['T'], 'light or dark', actions.theme],
    [['?'], 'this list', () => dialog.showModal()],
  ];
  const list = dialog.querySelector('dl');
  for (const [keys, text] of table) {
    const [term, meaning] = [document.createElement('dt'), document.createElement('dd')];
    term.textContent = keys.join(' ');
    meaning.textContent = text;
    list.append(term, meaning);
  }

  const byKey = new Map(table.flatMap(([keys, , run]) => keys.map((key) => [key.toLowerCase(), run])));
  byKey.set(' ', actions.play);
  byKey.set('escape', actions.stop);
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const isTyping = event.target.matches('textarea, select, input:not([type=range]):not([type=checkbox])');
    if (isTyping && event.key !== 'Escape') return;
    if (event.target.matches('button, summary, a') && [' ', 'Enter'].includes(event.key)) return;
    const frames = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (frames) actions.step(event.shiftKey ? 10 * frames : frames);
    else if (event.key === 'Home') actions.seek(0);
    else if (event.key === 'End') actions.seek(Infinity);
    else if (byKey.get(event.key.toLowerCase())) byKey.get(event.key.toLowerCase())();
    else return;
    event.preventDefault();
  });
}
