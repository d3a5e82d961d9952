// The people picker: what is chosen, and how it changes. What it looks like stands in view.js and drawing.js.
//
// The text `who` decides while it is not empty; a click turns the choice into points, stored in `picked`, and empties
// `who`. Strokes of the brush and clicks on effects are stored in `picked`, too, and count beside either.

import { everyone, inside, named, placed, readPicked, where, writePicked } from './choice.js'
import { everyEffect, placedEffects } from './effects.js'
import { withStrokes } from './strokes.js'
import { View } from './view.js'

const MOST_UNDO = 100

export class Picker {
  /**
   * host.read(): {who, picked, linked}, what the widgets hold; linked: a text comes in over a link. host.write({who,
   * picked}); who is left out where it stays. host.url(image): where a picture is. host.graphUndoes(): Ctrl+Z reaches
   * the graph in any case.
   */
  constructor(host, texts) {
    this.host = host
    this.given = [] // the photos as the last run showed them
    this.photos = [] // the same with the strokes of now
    this.ran = null // {who, picked, lost, lost_strokes, lost_effects} of the run that the photos are from
    this.forget()
    this.view = new View(this, texts)
    this.element = this.view.element
    this.#show()
  }

  /** What a run of the node showed; nothing after a reload. */
  setOutput(output) {
    const given = output?.mild_people
    if (!given || given === this.given) return
    this.given = given
    // One for each item of a list, all of the same texts.
    const runs = output.mild_choice ?? []
    const sum = (name) => runs.reduce((all, run) => all + (run[name] ?? 0), 0)
    const lost = { lost: sum('lost'), lost_strokes: sum('lost_strokes'), lost_effects: sum('lost_effects') }
    this.ran = runs.length ? { ...runs[0], ...lost } : null
    this.painted = undefined
    this.#show()
  }

  /** Correct the photos, where these strokes are others than before. */
  #paint(strokes) {
    const text = JSON.stringify(strokes)
    if (text === this.painted) return
    this.painted = text
    const asRun = text === JSON.stringify(readPicked(this.ran?.picked).strokes)
    this.photos = asRun ? this.given : withStrokes(this.given, strokes)
  }

  /** The values were loaded: there is nothing to undo. */
  forget() {
    this.past = []
    this.future = []
    this.typing = false
    this.last = this.#value()
    this.#show()
  }

  /** The values may have changed outside of the picker, as when the artist writes into `who`. */
  refresh() {
    const value = this.#value()
    if (same(value, this.last)) return
    if (!this.typing) this.#remember() // one step for all letters of a text
    this.typing = true
    this.last = value
    this.#show()
  }

  #show() {
    this.#paint(this.stored.strokes)
    if (!this.view) return
    if (this.view.photos !== this.photos) this.view.show()
    this.view.update()
  }

  #value() {
    const { who, picked, linked } = this.host.read()
    return { who: linked ? (this.ran?.who ?? '') : who, picked }
  }

  /** What the widget holds: {people, strokes, effects}. */
  get stored() {
    return readPicked(this.#value().picked)
  }

  /** A text comes in over a link, and a click could not change it. */
  get locked() {
    return this.host.read().linked && this.#value().who.trim() !== ''
  }

  /**
   * Who goes: {keys, picks, taken, clicked, lost, lost_strokes, lost_effects, unread, changed}. keys: a Set of people;
   * picks: where each was clicked, by key; taken: a Set of effects; clicked: where effects were clicked, by key; lost...:
   * how many clicks and strokes mean nobody; unread: the text cannot be read; changed: since the run that the photos are
   * from.
   */
  choice() {
    const { who, picked } = this.#value()
    const { people, strokes, effects } = readPicked(picked)
    const words = Boolean(who.trim())
    const { keys: picks, lost } = placed(words ? [] : people, this.photos)
    const { keys: clicked, lost: lost_effects } = placedEffects(effects, this.photos)
    const relevant = (text) => (words ? writePicked({ ...readPicked(text), people: [] }) : text)
    const changed = !this.ran || this.ran.who.trim() !== who.trim() || relevant(this.ran.picked) !== relevant(picked)
    const all = everyEffect(this.photos)
    if (!changed) {
      // Exactly what ComfyUI made of it.
      const going = everyone(this.photos).filter(([, , person]) => person.erased)
      const taken = new Set(all.filter(({ effect }) => effect.taken).map(({ key }) => key))
      return { ...this.ran, keys: new Set(going.map(([key]) => key)), picks, taken, clicked, unread: false, changed }
    }
    const taken = new Set(
      all.filter(({ key, effect }) => clicked.get(key)?.taken ?? effect.proposed).map(({ key }) => key)
    )
    const rest = { picks, taken, clicked, lost, lost_effects, lost_strokes: 0, changed }
    if (!words) return { keys: new Set(picks.keys()), unread: false, ...rest }
    const keys = named(who, this.photos)
    return { keys: keys ?? new Set(), unread: !keys, ...rest }
  }

  get who() {
    return this.#value().who.trim()
  }

  /** How many were clicked, also while no people are shown. */
  get clicked() {
    return this.stored.people.length
  }

  /** One person goes instead of stays, or the other way round. point: x, y of the click, 0..1; else in the person. */
  toggle(key, point) {
    this.#change((going) => (going.has(key) ? going.delete(key) : going.add(key)), key, point)
  }

  /** "all", "none" or "invert" for one photo of the batch, or for every photo (photo undefined). */
  several(what, photo) {
    this.#change((going) => {
      for (const [key, index] of everyone(this.photos))
        if (photo === undefined || index === photo) {
          const goes = what === 'all' || (what === 'invert' && !going.has(key))
          if (goes) going.add(key)
          else going.delete(key)
        }
    })
  }

  #change(alter, clicked, point) {
    if (this.locked) return
    this.refresh()
    const { keys, picks } = this.choice()
    const going = new Set(keys)
    alter(going)
    this.#write({ ...this.stored, people: this.#picksOf(going, picks, clicked && point && [clicked, point]) }, '')
  }

  /** Where each of these people is clicked: where they were, unless the brush took that place away. */
  #picksOf(going, picks, [clicked, point] = []) {
    return everyone(this.photos).filter(([key]) => going.has(key)).map(([key, photo, person]) => {
      const known = picks.get(key)
      const kept = known?.x !== undefined && (!person.before || inside(person, known.x, known.y))
      const [x, y] = (key === clicked && point) || (kept && [known.x, known.y]) || person.point
      return { photo, number: person.number, x: round(x), y: round(y), ...where(this.photos[photo]) }
    })
  }

  /** A shadow, a reflection or a carried thing goes with its person, or stays after all. */
  toggleEffect(key, point) {
    this.refresh()
    const { taken, clicked } = this.choice()
    const picks = everyEffect(this.photos).flatMap(({ key: one, effect, photo, number }) => {
      const takes = one === key ? !taken.has(one) : taken.has(one)
      if (takes === effect.proposed) return []
      const known = one === key ? undefined : clicked.get(one)
      const [x, y] = known ? [known.x, known.y] : ((one === key && point) || effect.point)
      const { kind } = effect
      return [{ photo, number, kind, x: round(x), y: round(y), taken: takes, ...where(this.photos[photo]) }]
    })
    this.#write({ ...this.stored, effects: picks })
  }

  /** One more stroke, {photo, number, mode, size, points, x, y}. */
  addStroke(stroke) {
    this.#setStrokes((strokes) => [...strokes, { ...stroke, ...where(this.photos[stroke.photo]) }])
  }

  /** Forget the strokes of one photo of the batch, or of every photo (photo undefined). */
  removeStrokes(photo) {
    this.#setStrokes((strokes) => strokes.filter((stroke) => photo !== undefined && stroke.photo !== photo))
  }

  #setStrokes(alter) {
    this.refresh()
    const { keys, picks } = this.choice()
    const strokes = alter(this.stored.strokes)
    this.#paint(strokes)
    // Who was clicked where the brush has taken something away is clicked where they are now.
    const people = this.who ? this.stored.people : this.#picksOf(keys, picks)
    this.#write({ ...this.stored, people, strokes })
  }

  #remember() {
    this.past.push(this.last)
    if (this.past.length > MOST_UNDO) this.past.shift()
    this.future = []
  }

  /** Store these lists; who: the text that takes the place of `who`, where one does. */
  #write(lists, who = this.last.who) {
    const value = { who, picked: writePicked(lists) }
    if (same(value, this.last)) return
    this.#remember()
    this.#store(value)
  }

  #store(value) {
    this.typing = false
    this.last = value
    const { who, picked } = value
    this.host.write(this.host.read().linked ? { picked } : { who, picked })
    this.#show()
  }

  undo() {
    this.#step(this.past, this.future)
  }

  redo() {
    this.#step(this.future, this.past)
  }

  #step(from, to) {
    this.refresh()
    if (!from.length || (this.locked && from.at(-1).who !== this.last.who)) return
    to.push(this.last)
    this.#store(from.pop())
  }
}

const round = (share) => Number(share.toFixed(4))

function same(a, b) {
  return a.who === b.who && a.picked === b.picked
}
