// Who is chosen: text and clicks become people. Plain functions, the same rules as mild_core/people/selection.py and
// picked.py.
//
// A photo is {width, height, people}; a person {number, name, box, point, rings, erased, effects}, positions as shares
// (0..1) of the photo's width and height. People are told apart by keys, "photo/number".

import { ringArea, toSegment } from './tracing.js'

export const REACH = 0.01 // how far beside a person a click still counts, as a share of the photo's longer side

const ALL_IN_CHINESE = ['全部', '所有', '所有人', '全体', '全體', '大家', '每个人', '每個人', '全选', '全選']
const ALL = ['all', 'everyone', 'everybody', '*', ...ALL_IN_CHINESE]
const NONE = ['none', 'nobody', 'no one', '无', '無', '没有', '沒有', '没有人', '沒有人', '无人', '無人', '全不选', '全不選']
const BUT = /^\s*(?:all|everyone|everybody)\s+(?:but|except|without)\s+([^]+)$/i
const EVERYONE = [...ALL_IN_CHINESE].sort((a, b) => b.length - a.length).join('|')
const BUT_IN_CHINESE = new RegExp(
  `^(?:${EVERYONE})?\\s*,?\\s*除[了去]?\\s*([^]+?)(?:\\s*(?:以外|之外|外))?(?:\\s*,?\\s*的?\\s*(?:${EVERYONE}))?$`
)
const RANGE = /^(\d+)\s*[-\u2013\u2014~\u301c到至]\s*(\d+)$/
const SEPARATOR = /[,;\n\uff0c\u3001\uff1b]|\band\b/i
const AND_IN_CHINESE = /以及|[和与與及跟]/
const NUMBER_IN_CHINESE = /(?:(?:人物|第)\s*)?(\d+)(?:\s*[号號])?/g

export const keyOf = (photo, person) => `${photo}/${person.number}`

/** All people of all photos, as [key, photo's index, person]. */
export function everyone(photos) {
  return photos.flatMap((photo, index) => photo.people.map((person) => [keyOf(index, person), index, person]))
}

/** The keys of those whom `who` names; null if it cannot be read. */
export function named(who, photos) {
  const people = everyone(photos)
  const numbers = numbersOf(who, people.map(([, , person]) => person))
  return numbers && new Set(people.filter(([, , person]) => numbers.has(person.number)).map(([key]) => key))
}

/** Full-width letters, digits and signs as plain ones. */
const plain = (text) => text.normalize('NFKC').trim()

function numbersOf(who, people) {
  const text = plain(who)
  const all = new Set(people.map((person) => person.number))
  if (!text) return null
  if (ALL.includes(text.toLowerCase())) return all
  if (NONE.includes(text.toLowerCase())) return new Set()
  const isName = people.some((person) => plain(person.name).toLowerCase() === text.toLowerCase())
  const but = BUT.exec(text) ?? (isName ? null : BUT_IN_CHINESE.exec(text))
  const listed = listedIn(but ? but[1] : text, people, all)
  if (!but || !listed) return listed
  return new Set([...all].filter((number) => !listed.has(number)))
}

function listedIn(text, people, all) {
  const chosen = new Set()
  const called = (name) => people.filter((person) => plain(person.name).toLowerCase() === name.toLowerCase())
  const parts = text.split(SEPARATOR).map((one) => one.trim())
    .flatMap((part) => (called(part).length ? [part] : part.split(AND_IN_CHINESE).map((one) => one.trim())))
  for (const part of parts.filter(Boolean)) {
    const named = called(part)
    const digits = part.replace(NUMBER_IN_CHINESE, '$1')
    const numbers = named.length
      ? named.map((person) => person.number)
      : (range([digits]) ?? range(digits.split(/\s+/)))
    if (!numbers || numbers.some((number) => !all.has(number))) return null
    numbers.forEach((number) => chosen.add(number))
  }
  return chosen
}

function range(words) {
  const numbers = []
  for (const word of words) {
    const span = RANGE.exec(word)
    if (/^\d+$/.test(word)) numbers.push(Number(word))
    else if (span) {
      const [first, last] = [Number(span[1]), Number(span[2])].sort((a, b) => a - b)
      if (last - first > 10000) return null
      for (let number = first; number <= last; number++) numbers.push(number)
    } else return null
  }
  return numbers.length ? numbers : null
}

/** What the widget's value holds: {people, strokes, effects}; nothing if it is anything else. */
export function readPicked(text) {
  const lists = { people: [], strokes: [], effects: [] }
  try {
    const value = JSON.parse(text || '{}')
    for (const name of Object.keys(lists))
      lists[name] = (value[name] ?? []).filter((one) => Number.isInteger(one.number)).map((one) => ({ photo: 0, ...one }))
  } catch {
    // left as it is until the first click; the node says what is wrong with it
  }
  return lists
}

/** The clicks on people, [{photo, number, x, y}]. */
export const readPicks = (text) => readPicked(text).people

export function writePicked({ people, strokes, effects }) {
  if (!people.length && !strokes.length && !effects.length) return ''
  const order = [...people].sort((a, b) => a.photo - b.photo || a.number - b.number)
  const value = { people: order.map(({ photo, number, x, y, ...rest }) => ({ photo, number, x, y, ...where(rest) })) }
  if (strokes.length) value.strokes = strokes
  if (effects.length) value.effects = effects
  return JSON.stringify(value)
}

/** item and place are written where the photos came as a list: which item of it, and which photo of that item. */
export const where = ({ item, place }) => (item ? { item, place } : {})

/** Where each click lies in the current masks: a Map from key to click, and how many lie on nobody. */
export function placed(picks, photos) {
  const keys = new Map()
  let lost = 0
  for (const pick of picks) {
    const person = photos[pick.photo] && meant(photos[pick.photo], pick)
    if (person) keys.set(keyOf(pick.photo, person), pick)
    else lost++
  }
  return { keys, lost }
}

/** The one of `things` (people, or what else has number, box and rings) that a click means. */
export function meant(photo, pick, things = photo.people) {
  if (pick.x === undefined) return things.find((one) => one.number === pick.number)
  let under = things.filter((one) => inside(one, pick.x, pick.y))
  if (!under.length) {
    const away = things.map((one) => distance(one, photo, pick.x, pick.y))
    const nearest = Math.min(REACH, ...away)
    under = things.filter((_, index) => away[index] <= nearest)
  }
  return under.find((one) => one.number === pick.number) ?? smallest(under)
}

/** The person under a point, the smallest one, or else the nearest. */
export function nearestPerson(photo, x, y) {
  const under = smallest(photo.people.filter((person) => inside(person, x, y)))
  if (under) return under
  const away = new Map(photo.people.map((person) => [person, distance(person, photo, x, y)]))
  return photo.people.reduce((best, one) => (best && away.get(best) <= away.get(one) ? best : one), undefined)
}

export function smallest(people) {
  return people.reduce((least, person) => (least && area(least) <= area(person) ? least : person), undefined)
}

function area(person) {
  return Math.abs(person.rings.reduce((sum, ring) => sum + ringArea(ring), 0))
}

export function inside(person, x, y) {
  const [x0, y0, x1, y1] = person.box
  if (x < x0 || x > x1 || y < y0 || y > y1) return false
  let odd = false
  for (const ring of person.rings)
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const crosses = ring[i + 1] > y !== ring[j + 1] > y
      if (crosses && x < ring[i] + ((ring[j] - ring[i]) * (y - ring[i + 1])) / (ring[j + 1] - ring[i + 1])) odd = !odd
    }
  return odd
}

/** How far a point is from a person's outline, as a share of the photo's longer side. */
function distance(person, photo, x, y) {
  const long = Math.max(photo.width, photo.height)
  const [sx, sy] = [photo.width / long, photo.height / long]
  let least = Infinity
  for (const ring of person.rings)
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const away = toSegment(x * sx, y * sy, ring[j] * sx, ring[j + 1] * sy, ring[i] * sx, ring[i + 1] * sy)
      least = Math.min(least, away)
    }
  return least
}
