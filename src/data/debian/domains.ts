// Text that Debian packages hold, by domain. A new domain is a row here, and a reader if its format is new.

import { eachFile, type Reader } from './readers/files.ts'
import { htmlToText } from './readers/html.ts'
import { inScript, keepParagraphs, notEnglish, type ParagraphTest } from './readers/language.ts'
import { manToText } from './readers/man.ts'
import { markdownToText } from './readers/markdown.ts'
import { metamathToTexts } from './readers/metamath.ts'
import { swordModule } from './readers/sword.ts'

export interface TextPackage {
  /** Name of the Debian package. */
  name: string
  /** Licence of the text, from the package's copyright file. */
  licence: string
  read: Reader
}

export interface DebianDomain {
  /** What kind of text this is, for people. */
  title: string
  packages: readonly TextPackage[]
}

export const debianDomains = {
  en: {
    title: 'English essays',
    packages: [
      {
        name: 'anarchism',
        licence: 'GPL-2',
        read: eachFile({
          under: 'usr/share/doc/anarchism/markdown',
          match: /^(sec|append)/,
          convert: markdownToText,
        }),
      },
    ],
  },
  bible: {
    title: 'English scripture and Victorian commentary',
    packages: [
      {
        name: 'sword-comm-tdavid',
        licence: 'public domain',
        read: swordModule('usr/share/sword/modules/comments/zcom/tdavid'),
      },
      {
        name: 'sword-text-web',
        licence: 'public domain',
        read: swordModule('usr/share/sword/modules/texts/ztext/engWEB2015eb'),
      },
    ],
  },
  code: {
    title: 'Go source code',
    packages: [
      {
        name: 'golang-1.19-src',
        licence: 'BSD-3-Clause',
        read: eachFile({
          under: 'usr/share/go-1.19/src',
          match: /^(?!.*(?:testdata|vendor)\/)(?!.*\/z[^/]*$).*\.go$/, // z*.go are generated tables
          convert: text => text,
        }),
      },
    ],
  },
  maths: {
    title: 'formal mathematics with explanations',
    packages: [
      {
        name: 'metamath-databases',
        licence: 'CC0-1.0',
        read: eachFile({
          under: 'usr/share/metamath/databases',
          match: /^(set|iset|nf|ql|hol)\.mm$/,
          convert: metamathToTexts,
        }),
      },
    ],
  },
  de: { title: 'German manuals', packages: manuals('de', notEnglish) },
  fr: { title: 'French manuals', packages: manuals('fr', notEnglish) },
  ru: { title: 'Russian manuals', packages: manuals('ru', inScript(/\p{Script=Cyrillic}/u)) },
  ja: {
    title: 'Japanese manuals',
    packages: manuals('ja', inScript(/[\p{Script=Hiragana}\p{Script=Katakana}]/u)),
  },
  es: {
    title: 'Spanish manuals and scripture',
    packages: [
      ...manuals('es', notEnglish),
      {
        name: 'sword-text-sparv',
        licence: 'public domain',
        read: swordModule('usr/share/sword/modules/texts/ztext/spaRV1909eb'),
      },
    ],
  },
  zh: {
    title: 'Chinese manuals',
    packages: manuals('zh', inScript(/\p{Script=Han}/u), { man: 'zh_CN', help: 'zh-CN' }),
  },
} as const satisfies Record<string, DebianDomain>

export type DebianDomainName = keyof typeof debianDomains

/** What is read when nothing else is asked for. */
export const defaultDomains: readonly DebianDomainName[] = [
  'en',
  'bible',
  'code',
  'maths',
  'de',
  'fr',
  'ru',
  'ja',
]

/** Manual pages and LibreOffice's help, the same works in many languages; `folders` where these spell it otherwise. */
function manuals(
  language: string,
  isTranslated: ParagraphTest,
  folders: { man: string; help: string } = { man: language, help: language },
): readonly TextPackage[] {
  const pages = eachFile({ under: `usr/share/man/${folders.man}`, match: /\.gz$/, convert: manToText })
  const help = eachFile({
    under: `usr/share/libreoffice/help/${folders.help}/text`,
    match: /\.html$/,
    convert: html => htmlToText(html.replace(otherVariant, ''), helpText),
  })
  return [
    {
      name: `manpages-${language}`,
      licence: language === 'zh' ? 'GFDL-1.2+ and others' : 'GPL-3+ and others',
      read: keepParagraphs(pages, isTranslated),
    },
    {
      name: `libreoffice-help-${folders.help.toLowerCase()}`,
      licence: 'MPL-2.0',
      read: keepParagraphs(help, isTranslated),
    },
  ]
}

/** A page's text stands between its frames. */
const helpText = { from: '<div id="DisplayArea"', to: '<div id="SearchFrame"' }

/** Wording for one of several programs or systems; the page also holds a general one. */
const otherVariant = /<span hidden="true"[^>]* class="[^"]*">[^<]*<\/span>/g
