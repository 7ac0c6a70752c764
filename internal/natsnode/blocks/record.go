package blocks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/minio/highwayhash"
)

// The format of a record, as filestore.go of nats-server v2.15.2 writes it
// (writeMsgRecordLocked) and reads it back (rebuildStateFromBufLocked). All
// numbers are little-endian.
//
//	length(4) sequence(8) time(8) subject length(2)
//	subject [header length(4) header] message
//	hash(8)
//
// The length is that of the whole record; its highest bit says that there is a
// header. The hash covers all but the lengths. A tombstone has no subject and no
// message: it says that the message of its sequence was removed.
const (
	headBytes      = 22
	hashBytes      = 8
	tombstoneBytes = headBytes + hashBytes
	recordBytesMax = 32 << 20

	headerBit    = 1 << 31 // of the length
	erasedBit    = 1 << 63 // of the sequence: the message was overwritten
	tombstoneBit = 1 << 62 // of the sequence
)

// record is one that is sound.
type record struct {
	seq       uint64
	bytes     int
	tombstone bool
}

// reader reads the records of one block.
type reader struct {
	subject []byte // that of each message begins like this
	sum     hash.Hash
	hashed  int // bytes, as a measure of the work done
}

// newReader makes a reader for a block of a stream whose subjects all begin
// with the stream's name and a dot. The key of the hash is the name of the block.
func newReader(stream string, index uint32) (*reader, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return nil, err
	}
	return &reader{subject: []byte(stream + "."), sum: sum}, nil
}

// read reads the record that b begins with. If that is not sound, wrong says
// what is the matter with it, in words that continue "a record …".
//
// It is stricter than the server, which takes the lengths inside a record on
// trust when its hash is right.
func (r *reader) read(b []byte) (rec record, wrong string) {
	length, seq, wrong := head(b)
	if wrong != "" {
		return rec, wrong
	}
	rec = record{seq: seq &^ (erasedBit | tombstoneBit), bytes: length, tombstone: seq&tombstoneBit != 0}
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	body := b[headBytes : length-hashBytes]
	if plain := seq&(erasedBit|tombstoneBit) == 0; plain && !r.isOurs(body[:subject]) {
		return rec, "has a subject that is not the log's"
	}
	rest := body[subject:]
	if binary.LittleEndian.Uint32(b)&headerBit != 0 {
		if rest = r.header(rest); rest == nil {
			return rec, "has a header that cannot be one"
		}
	}
	if !bytes.Equal(r.hash(b[4:20], body[:subject], rest), b[length-hashBytes:length]) {
		return rec, "does not have the hash that was stored with it"
	}
	return rec, ""
}

// isOurs: the name, a dot and one letter.
func (r *reader) isOurs(subject []byte) bool {
	return len(subject) == len(r.subject)+1 && bytes.HasPrefix(subject, r.subject)
}

var (
	headerBegins = []byte("NATS/1.0\r\n")
	headerEnds   = []byte("\r\n\r\n")
)

// header checks the header and returns it with the message behind it, nil if it
// cannot be one.
func (r *reader) header(b []byte) []byte {
	if len(b) < 4 {
		return nil
	}
	n, b := binary.LittleEndian.Uint32(b), b[4:]
	if int64(n) > int64(len(b)) || !bytes.HasPrefix(b[:n], headerBegins) || !bytes.HasSuffix(b[:n], headerEnds) {
		return nil
	}
	return b
}

func (r *reader) hash(parts ...[]byte) []byte {
	r.sum.Reset()
	for _, p := range parts {
		r.hashed += len(p)
		r.sum.Write(p) // a hash takes everything
	}
	return r.sum.Sum(nil)
}

// searchBytesMax bounds how many bytes are hashed in search of a sound record:
// 64 MiB. Only bytes made for the purpose need more than a few blocks.
const searchBytesMax = 64 << 20

// after finds the first sound message in b whose sequence is above seq. The
// length of the record in front of it is not to be trusted, so it looks for the
// subject.
func (r *reader) after(b []byte, seq uint64) (found uint64) {
	limit := r.hashed + searchBytesMax
	for at := headBytes; at < len(b) && r.hashed < limit; at++ {
		i := bytes.Index(b[at:], r.subject)
		if i < 0 {
			return 0
		}
		at += i
		if rec, wrong := r.read(b[at-headBytes:]); wrong == "" && !rec.tombstone && rec.seq > seq {
			return rec.seq
		}
	}
	return 0
}
