// Package pipeline is the job that `troupe bench pipeline` measures, and the
// plain ways to do it: records of exactly 100 bytes of JSON in memory are
// parsed, those of an even amount are kept (half of them), counted by user (one
// of 1,000), and dropped. All ways share one hand-written scan, so that what
// differs between them is how records get from one step to the next.
package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// The job's constants.
const (
	RecordBytes    = 100
	Users          = 1000
	DefaultRecords = 3_000_000
)

// Data are the records: one slab, and what the job has to make of it.
type Data struct {
	slab   []byte
	counts Counts        // of one pass
	want   uint64        // its checksum
	runFor time.Duration // how long a variant repeats the job, at least
}

// NewData makes n records, always the same ones.
func NewData(n int) *Data {
	d := &Data{slab: make([]byte, 0, n*RecordBytes), runFor: 1200 * time.Millisecond}
	rng := rand.New(rand.NewPCG(1, 2))
	counts := Counts{}
	for i := range n {
		user, amount := "u"+strconv.Itoa(rng.IntN(Users)), rng.IntN(100_000)
		d.slab = appendRecord(d.slab, i, user, amount)
		if amount%2 == 0 {
			counts[user]++
		}
	}
	d.counts, d.want = counts, counts.Checksum()
	return d
}

// appendRecord appends a record. Its fields have no fixed offsets: ids, users
// and amounts have as many characters as they need, and the note fills up.
func appendRecord(dst []byte, id int, user string, amount int) []byte {
	end := len(dst) + RecordBytes
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, int64(id), 10)
	dst = append(dst, `,"user":"`...)
	dst = append(dst, user...)
	dst = append(dst, `","amount":`...)
	dst = strconv.AppendInt(dst, int64(amount), 10)
	dst = append(dst, `,"note":"`...)
	for i := 0; len(dst) < end-2; i++ {
		dst = append(dst, byte('a'+(id+i)%26))
	}
	return append(dst, `"}`...)
}

// Len is the number of records.
func (d *Data) Len() int { return len(d.slab) / RecordBytes }

// Record returns record i. It must not be changed.
func (d *Data) Record(i int) []byte {
	return d.slab[i*RecordBytes : (i+1)*RecordBytes : (i+1)*RecordBytes]
}

// Shard returns the range of records that is part k of n parts.
func (d *Data) Shard(k, n int) (from, to int) { return d.Len() * k / n, d.Len() * (k + 1) / n }

// Check says whether a checksum is right after so many records, which must be
// one or more whole passes over the data.
func (d *Data) Check(records int64, checksum uint64) error {
	n := int64(d.Len())
	if n == 0 || records <= 0 || records%n != 0 {
		return fmt.Errorf("%d records are not a whole number of passes over %d", records, n)
	}
	if want := d.want * uint64(records/n); checksum != want {
		return fmt.Errorf("the checksum after %d records is %x, should be %x", records, checksum, want)
	}
	return nil
}

// triangles is what the counts of every user add up to when each kept record
// gives out its user's new count, over so many passes.
func (d *Data) triangles(passes int) (sum uint64) {
	for _, n := range d.counts {
		all := uint64(n) * uint64(passes)
		sum += all * (all + 1) / 2
	}
	return sum
}

// Counts is the result of the job: kept records by user.
type Counts map[string]int64

// Checksum depends on every count, and adds up: that of two passes is twice
// that of one, and parts that counted different records can be added.
func (c Counts) Checksum() uint64 {
	var sum uint64
	for user, n := range c {
		sum += uint64(n) * fnv(user)
	}
	return sum
}

// fnv is the 64-bit FNV-1a hash.
func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
