// Text that Debian packages hold, by domain. A new domain is a row here, and a reader if its format is new.

import { eachFile, type Reader } from './readers/files.ts'
import { htmlToText } from './readers/html.ts'
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
  de: { title: 'German manuals', packages: [manualPages('de'), officeHelp('de')] },
  fr: { title: 'French manuals', packages: [manualPages('fr'), officeHelp('fr')] },
  ru: {
    title: 'Russian manuals',
    packages: [manualPages('ru'), officeHelp('ru')].map(inScript(/\p{Script=Cyrillic}/u)),
  },
  ja: {
    title: 'Japanese manuals',
    packages: [manualPages('ja'), officeHelp('ja')].map(
      inScript(/[\p{Script=Hiragana}\p{Script=Katakana}]/u),
    ),
  },
  es: {
    title: 'Spanish manuals and scripture',
    packages: [
      manualPages('es'),
      officeHelp('es'),
      {
        name: 'sword-text-sparv',
        licence: 'public domain',
        read: swordModule('usr/share/sword/modules/texts/ztext/spaRV1909eb'),
      },
    ],
  },
  zh: {
    title: 'Chinese manuals',
    packages: [manualPages('zh', 'zh_CN'), officeHelp('zh-cn', 'zh-CN')].map(inScript(/\p{Script=Han}/u)),
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

function manualPages(language: string, folder = language): TextPackage {
  return {
    name: `manpages-${language}`,
    licence: language === 'zh' ? 'GFDL-1.2+ and others' : 'GPL-3+ and others',
    read: eachFile({ under: `usr/share/man/${folder}`, match: /\.gz$/, convert: manToText }),
  }
}

/** Pages of LibreOffice's help: the text stands between its frames. */
function officeHelp(language: string, folder = language): TextPackage {
  return {
    name: `libreoffice-help-${language}`,
    licence: 'MPL-2.0',
    read: eachFile({
      under: `usr/share/libreoffice/help/${folder}/text`,
      match: /\.html$/,
      convert: html =>
        htmlToText(html.replace(otherVariant, ''), {
          from: '<div id="DisplayArea"',
          to: '<div id="SearchFrame"',
        }),
    }),
  }
}

/** Wording for one of several programs or systems; the page also holds a general one. */
const otherVariant = /<span hidden="true"[^>]* class="[^"]*">[^<]*<\/span>/g

/** Leaves out long paragraphs without a character of the language's script: they were not translated. */
function inScript(script: RegExp): (source: TextPackage) => TextPackage {
  const isForeign = (paragraph: string): boolean => paragraph.length >= 60 && !script.test(paragraph)
  return source => ({
    ...source,
    *read(folder) {
      for (const { text, place } of source.read(folder)) {
        yield {
          text: text
            .split('\n\n')
            .filter(paragraph => !isForeign(paragraph))
            .join('\n\n'),
          place,
        }
      }
    },
  })
}
