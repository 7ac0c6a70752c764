// Package blockstest writes blocks for tests, as nats-server would.
package blockstest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/minio/highwayhash"
)

// Message appends a message of a stream to the bytes of its block index.
func Message(b []byte, stream string, index int, seq uint64, data []byte) []byte {
	header := fmt.Sprintf("NATS/1.0\r\nNats-Expected-Last-Sequence: %d\r\n\r\n", seq-1)
	return record(b, stream, index, seq, stream+".d", header, data)
}

// Tombstone appends the note that a message was removed.
func Tombstone(b []byte, stream string, index int, seq uint64) []byte {
	return record(b, stream, index, seq|1<<62, "", "", nil)
}

func record(b []byte, stream string, index int, seq uint64, subject, header string, data []byte) []byte {
	length := uint32(22 + len(subject) + len(data) + 8)
	body := subject
	if header != "" {
		length = (length + 4 + uint32(len(header))) | 1<<31
		body += string(binary.LittleEndian.AppendUint32(nil, uint32(len(header)))) + header
	}
	head := binary.LittleEndian.AppendUint32(nil, length)
	head = binary.LittleEndian.AppendUint64(head, seq)
	head = binary.LittleEndian.AppendUint64(head, seq*1000) // the time
	head = binary.LittleEndian.AppendUint16(head, uint16(len(subject)))
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	for _, part := range [][]byte{head[4:20], []byte(subject), []byte(header), data} {
		sum.Write(part)
	}
	b = append(b, head...)
	b = append(b, body...)
	b = append(b, data...)
	return sum.Sum(b)
}
