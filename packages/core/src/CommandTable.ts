export const refusal = (_args: ReadonlyArray<unknown>, _where: string): string | undefined => undefined
