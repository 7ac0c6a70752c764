// Package wire puts values into bytes, and reads them from bytes that may be damaged.
//
// Numbers are varints as of encoding/binary, texts have their length in front. There are
// no tags: what is read must be asked for in the order in which it was written. So whoever
// stores bytes begins them with a version of their own.
package wire
