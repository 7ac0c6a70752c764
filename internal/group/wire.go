package group

import (
	"encoding/binary"
	"fmt"
	"math"
)

// writer puts values down: numbers as varints, texts with their length in front.
type writer struct{ b []byte }

func (w *writer) num(v uint64) { w.b = binary.AppendUvarint(w.b, v) }

func (w *writer) flag(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) text(s string) {
	w.num(uint64(len(s)))
	w.b = append(w.b, s...)
}

// part names a partition. The topic is left out where it is that of the one
// before in the same list; names are never empty.
func (w *writer) part(p, before *part) {
	if before != nil && before.topic == p.topic {
		w.text("")
	} else {
		w.text(p.topic.name)
	}
	w.num(uint64(p.index))
}

func (w *writer) parts(parts []*part) {
	w.num(uint64(len(parts)))
	var before *part
	for _, p := range parts {
		w.part(p, before)
		before = p
	}
}

func (w *writer) record(r ParkedRecord) {
	w.num(r.Offset)
	w.num(r.Parking)
	w.num(uint64(r.Bytes))
	w.flag(r.Edited)
}

func (w *writer) key(id keyID) {
	w.num(id.alone)
	w.text(id.key)
}

// reader reads what writer wrote. After the first thing that is wrong it returns
// zeros; see err.
type reader struct {
	b   []byte
	g   *Group
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	}
	r.b = nil
}

func (r *reader) num() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("it ends too early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// small reads a number that fits into an int64.
func (r *reader) small() int64 {
	v := r.num()
	if v > math.MaxInt64 {
		r.fail("%d is too large", v)
		return 0
	}
	return int64(v)
}

func (r *reader) flag() bool {
	v := r.num()
	if v > 1 {
		r.fail("%d is neither yes nor no", v)
	}
	return v == 1
}

// count reads how many items follow, each of at least size bytes.
func (r *reader) count(size int) int {
	n := r.num()
	if n > uint64(len(r.b)/size) {
		r.fail("%d items are announced, and %d bytes are left", n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) topic() *topic {
	name := r.text()
	t := r.g.topics[name]
	if t == nil {
		r.fail("topic %.40q is not known", name)
	}
	return t
}

// part reads a partition; nil if something is wrong.
func (r *reader) part(before *part) *part {
	var t *topic
	if name := r.text(); name != "" {
		t = r.g.topics[name]
	} else if before != nil {
		t = before.topic
	}
	index := r.num()
	if t == nil || index >= uint64(len(t.parts)) {
		r.fail("partition %d of a topic is not known", index)
		return nil
	}
	return t.parts[index]
}

func (r *reader) parts() (parts []*part) {
	n := r.count(2)
	parts = make([]*part, 0, n)
	var before *part
	for ; n > 0 && r.err == nil; n-- {
		before = r.part(before)
		parts = append(parts, before)
	}
	return parts
}

func (r *reader) member() *member {
	id := r.text()
	m := r.g.members[id]
	if m == nil {
		r.fail("member %.40q is not known", id)
	}
	return m
}

func (r *reader) record() ParkedRecord {
	return ParkedRecord{uint64(r.small()), r.num(), int(r.small()), r.flag()}
}

func (r *reader) key() keyID {
	return keyID{alone: uint64(r.small()), key: r.text()}
}

// parkedPart reads a partition, a key, and what is parked of it.
func (r *reader) parkedPart(must bool) (*part, keyID, *parkedKey) {
	p, id := r.part(nil), r.key()
	if p == nil || r.err != nil {
		return nil, id, nil
	}
	k := p.parked[id]
	if k == nil && must {
		r.fail("key %.40q is not parked", id.key)
	}
	return p, id, k
}
