/** Text of the other end, without what could play tricks on a terminal or fill it. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?').slice(0, 500);
}
