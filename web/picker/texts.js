// The texts of the picker, and of did_not_load.js.

const TEXTS = {
  en: {
    title: 'Choose who goes',
    all: 'All',
    none: 'None',
    invert: 'Invert',
    allTip: 'Everyone in this photo goes (with Shift: in every photo)',
    noneTip: 'Nobody in this photo goes (with Shift: in no photo)',
    invertTip: 'Who goes, stays, and the other way round (with Shift: in every photo)',
    undo: 'Undo',
    redo: 'Redo',
    previous: 'Previous photo',
    next: 'Next photo',
    page: (page, count) => `photo ${page} of ${count}`,
    smaller: 'Zoom out',
    larger: 'Zoom in',
    fit: 'Show the whole photo (0)',
    picture: 'The people in the photo',
    person: (name, number) => (name === `Person ${number}` ? name : `${number}: ${name}`),
    goes: 'goes',
    stays: 'stays',
    run: 'Queue to see the people.',
    runChosen: (count) => `${count} chosen. Queue to see them.`,
    runWho: (who) => `who: ${who}. Queue to see the people.`,
    nobody: 'Nobody was found in this photo.',
    click: 'Click who must go, then queue again.',
    count: (going, all) => `${going} of ${all} go`,
    none_go: 'Nobody goes.',
    everyone: (all) => (all === 1 ? '1 of 1 goes' : `all ${all} go`),
    lost: (count) => (count === 1 ? '1 clicked person is no longer there.' : `${count} clicked people are no longer there.`),
    changed: 'Queue to apply.',
    unread: (who) => `who: "${who}" names nobody here.`,
    linked: 'Chosen by the text connected to who.',
    notLoaded: (needs, version) =>
      `The nodes of MILD did not load. They need ComfyUI ${needs} or newer, and this is ${version}; ComfyUI's log says more.`
  },
  zh: {
    title: '选择要移除的人物',
    all: '全选',
    none: '全不选',
    invert: '反选',
    allTip: '移除这张照片里的所有人（按住 Shift：所有照片）',
    noneTip: '这张照片里谁也不移除（按住 Shift：所有照片）',
    invertTip: '移除与保留互换（按住 Shift：所有照片）',
    undo: '撤销',
    redo: '重做',
    previous: '上一张',
    next: '下一张',
    page: (page, count) => `第 ${page} 张，共 ${count} 张`,
    smaller: '缩小',
    larger: '放大',
    fit: '显示整张照片 (0)',
    picture: '照片中的人物',
    person: (name, number) => (name === `Person ${number}` ? `人物 ${number}` : `${number}：${name}`),
    goes: '移除',
    stays: '保留',
    run: '运行后即可看到人物。',
    runChosen: (count) => `已选 ${count} 人。运行后即可看到。`,
    runWho: (who) => `who：${who}。运行后即可看到人物。`,
    nobody: '这张照片里没有找到人物。',
    click: '点击要移除的人物，然后再次运行。',
    count: (going, all) => `移除 ${going} 人，共 ${all} 人`,
    none_go: '不移除任何人。',
    everyone: (all) => `移除全部 ${all} 人`,
    lost: (count) => `点选过的 ${count} 人已不在。`,
    changed: '再次运行以应用。',
    unread: (who) => `who：“${who}”在这里找不到对应的人物。`,
    linked: '由连接到 who 的文字决定。',
    notLoaded: (needs, version) =>
      `MILD 的节点没有加载。它们需要 ComfyUI ${needs} 或更高版本，当前版本是 ${version}；详情见 ComfyUI 的日志。`
  }
}

/** The texts for a language of ComfyUI's settings; English where there is no translation. */
export function textsFor(locale) {
  return String(locale ?? 'en').startsWith('zh') ? TEXTS.zh : TEXTS.en
}
