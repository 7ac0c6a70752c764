package blocks

import (
	"encoding/binary"
	"fmt"
	"os"
)

// The server reads a block as a whole when it needs an entry of it, at any time.
// It looks at the lengths and sequences then, and if they make no sense it does
// what it does after a crash: it cuts. The hash of a record it compares only when
// that record is asked for, and then it cuts nothing.

// Skim looks at what the server looks at, with the same rules (indexCacheBuf in
// filestore.go): that the block holds the messages from first to last without a
// gap. A last of 0 is not known, and a first of 0 means that it holds none. The
// error is that of reading the file.
func Skim(file string, first, last uint64) (*Damage, error) {
	b, err := readBlock(file, nil)
	if err != nil {
		return nil, err
	}
	found, at, why := skim(b, first)
	if why == "" && last > 0 && first > 0 && found != last {
		why = fmt.Sprintf("the block ends with entry %d, and the next begins behind entry %d", found, last)
	}
	if why == "" {
		return nil, nil
	}
	return &Damage{File: file, At: int64(at), Why: why}, nil
}

// skim returns the sequence of the last message, or what is the matter at which
// byte.
func skim(b []byte, first uint64) (last uint64, at int, why string) {
	next := first
	for at < len(b) {
		length, seq, wrong := head(b[at:])
		if wrong != "" {
			return last, at, "a record " + wrong
		}
		if seq&tombstoneBit == 0 {
			if seq &^= erasedBit; seq != next {
				return last, at, fmt.Sprintf("entry %d is where entry %d should be", seq, next)
			}
			last, next = seq, seq+1
		}
		at += length
	}
	if first > 0 && last == 0 {
		return 0, at, "the block holds no entries"
	}
	return last, at, ""
}

// head reads the head of the record that b begins with.
func head(b []byte) (length int, seq uint64, wrong string) {
	if len(b) < headBytes {
		return 0, 0, "has no room for its head"
	}
	total, subject := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint16(b[20:]))
	if total&headerBit != 0 {
		subject += 4 // the length of the header
	}
	total &^= headerBit
	switch {
	case total < tombstoneBytes || total > recordBytesMax:
		wrong = fmt.Sprintf("claims the impossible length of %d bytes", total)
	case int(total) > len(b):
		wrong = fmt.Sprintf("claims %d bytes, the file has %d more", total, len(b))
	case subject > int(total)-tombstoneBytes:
		wrong = "claims a subject that is longer than itself"
	}
	return int(total), binary.LittleEndian.Uint64(b[4:]), wrong
}

// First returns the sequence of the first message of a block, 0 if it has none
// or that cannot be found.
func First(file string) (uint64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [headBytes]byte
	if n, _ := f.ReadAt(b[:], 0); n < len(b) {
		return 0, nil
	}
	if seq := binary.LittleEndian.Uint64(b[4:]); seq&tombstoneBit == 0 {
		return seq &^ erasedBit, nil
	}
	all, err := readBlock(file, nil)
	for err == nil && len(all) > 0 {
		length, seq, wrong := head(all)
		if wrong != "" || seq&tombstoneBit == 0 {
			return seq &^ erasedBit, nil
		}
		all = all[length:]
	}
	return 0, err
}
