import { expect, test } from 'vitest'
import { ParagraphFilter } from './paragraphs.ts'

const notice =
  'Permission is hereby granted, free of charge, to any person obtaining a copy of this software. '.repeat(2)

test('the first of equal paragraphs stays, later ones go and are counted', () => {
  const filter = new ParagraphFilter()
  expect(filter.filter(`${notice}\n\nfirst`)).toBe(`${notice}\n\nfirst`)
  expect(filter.filter(`${notice}\n\nsecond`)).toBe('second')
  expect(filter.dropped).toEqual({ paragraphs: 1, bytes: notice.length })
})

test('case and white space do not make a paragraph new', () => {
  const filter = new ParagraphFilter()
  filter.filter(notice)
  expect(filter.filter(notice.toUpperCase().replaceAll(' ', '\n'))).toBe('')
})

test('short paragraphs may repeat', () => {
  const filter = new ParagraphFilter()
  expect(filter.filter('}\n\n}\n\n}')).toBe('}\n\n}\n\n}')
  expect(filter.dropped.paragraphs).toBe(0)
})

test('every one of many different paragraphs stays', () => {
  const filter = new ParagraphFilter()
  const text = Array.from({ length: 20_000 }, (_, i) => `${i} ${notice}`).join('\n\n')
  expect(filter.filter(text)).toBe(text)
  expect(filter.filter(text)).toBe('')
  expect(filter.dropped.paragraphs).toBe(20_000)
})
