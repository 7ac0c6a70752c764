package topology

import (
	"encoding/binary"

	"github.com/troupestream/troupe/internal/codec"
)

// pane is one window of a key.
type pane[A any] struct {
	start int64
	value A
}

type paneCodec[A any] struct{ values codec.Codec[A] }

func (c paneCodec[A]) append(dst []byte, panes *[]pane[A]) ([]byte, error) {
	var value []byte
	var err error
	for i := range *panes {
		p := &(*panes)[i]
		if value, err = c.values.Append(value[:0], p.value); err != nil {
			return dst, err
		}
		dst = binary.AppendVarint(dst, p.start)
		dst = append(binary.AppendUvarint(dst, uint64(len(value))), value...)
	}
	return dst, nil
}

func (c paneCodec[A]) decode(b []byte, panes *[]pane[A]) error {
	for len(b) > 0 {
		start, w := binary.Varint(b)
		if w <= 0 {
			return errCorruptState
		}
		value, rest, err := cutSized(b[w:])
		if err != nil {
			return err
		}
		v, err := c.values.Decode(value)
		if err != nil {
			return err
		}
		*panes, b = append(*panes, pane[A]{start, v}), rest
	}
	return nil
}

// cutSized cuts bytes off b in front of which their length is written.
func cutSized(b []byte) (cut, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, errCorruptState
	}
	return b[w : w+int(n)], b[w+int(n):], nil
}
