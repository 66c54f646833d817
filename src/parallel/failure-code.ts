/** What ranks leave with when another one fails, so that who started them begins again: EX_TEMPFAIL of sysexits.h. */
export const failureExitCode = 75
