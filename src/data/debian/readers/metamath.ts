// Metamath databases (us.metamath.org) as mathematics: explanations and statements, section by section.

/** A heading is a comment that begins with a line of `#*#*`, `=-=-`, `####` or `-.-.`. */
const heading = /(?=\$\(\s*\n?(?:#\*#\*|####|=-=-|-\.-\.))/

/**
 * One text per section. Proofs, which are lists of steps in a packed notation, and notes on who contributed what
 * are left out.
 */
export function metamathToTexts(database: string): string[] {
  return database.split(heading).map(section =>
    section
      .replace(/\$=[^$]*\$\./g, '$.')
      .replace(/^\s*\$[{}]\s*$/gm, '')
      .replace(/\$\[[^$]*\$\]/g, '')
      .replace(/\$\(([\s\S]*?)\$\)/g, (_, comment: string) => commentToText(comment))
      .replace(/^ {2,4}/gm, ''),
  )
}

/** Some explanations carry HTML. Its names are listed, since `<A , B>` may be mathematics. */
const markup =
  /<\/?(?:html|b|i|em|br|p|a|ul|ol|li|dl|dt|dd|table|tr|td|th|sub|sup|hr|center|font|small|big|pre|tt|span|div)\b[^<>]*>/gi

function commentToText(comment: string): string {
  return comment
    .replace(markup, '')
    .replace(
      /\((?:Contributed|Revised|Proof shortened|Proposed|Unnecessary)\s+by[^()]*(?:\([^()]*\)[^()]*)*\)/g,
      '',
    )
    .replace(/\((?:Proof\s+modification|New\s+usage)\s+is\s+discouraged\.\)/g, '')
    .replace(/^[#*=.-]{20,}$/gm, '')
    .replace(/\n[ \t]+/g, '\n')
    .trim()
}
