// A function that tells a screen reader of another label, at most once a second.
const makeAnnouncer = region => {
  let told = "", wanted = ["", ""], timer = 0;
  const tell = () => {
    timer = 0;
    if (wanted[0] === told) return;
    [told, region.textContent] = wanted;
    timer = setTimeout(tell, 1000);
  };
  return (label, text) => { wanted = [label, text]; if (!timer) tell(); };
};
