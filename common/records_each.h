/*
 * Goes through the rows of records.def once, with the macros that the includer defined; those it did not define give nothing. All are undefined
 * afterwards. To be included many times, so it has no guard.
 */
#ifndef RECORD
#define RECORD(id, name, number, senders, since, fds)
#endif
#ifndef RECORD_END
#define RECORD_END(id, name)
#endif
#ifndef U8
#define U8(f)
#endif
#ifndef U16
#define U16(f)
#endif
#ifndef U32
#define U32(f)
#endif
#ifndef U64
#define U64(f)
#endif
#ifndef TEXT
#define TEXT(f, max)
#endif
#ifndef SPILL
#define SPILL(f, max)
#endif
#include "common/records.def"
#undef RECORD
#undef RECORD_END
#undef U8
#undef U16
#undef U32
#undef U64
#undef TEXT
#undef SPILL
