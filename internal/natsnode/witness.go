package natsnode

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"sync"
)

// Witness is what is known of one log outside its own files. A nil Witness takes
// everything and says nothing.
type Witness struct {
	t    *ackedTable
	slot int

	mu    sync.Mutex
	name  string
	state byte
	dirty bool   // it is among the dirty ones of the table
	last  uint64 // the log was acknowledged up to here
	floor uint64 // nothing from here on was ever dropped
}

// write puts the witness into its slot. Its lock is held. That the table cannot
// be written is no reason to refuse appends: it only notices less later.
func (w *Witness) write() {
	var b [slotBytes]byte
	if w.state != 0 {
		b[4], b[5] = w.state, byte(len(w.name))
		binary.LittleEndian.PutUint64(b[8:], w.last)
		binary.LittleEndian.PutUint64(b[16:], w.floor)
		copy(b[slotName:], w.name)
		binary.LittleEndian.PutUint32(b[:], crc32.Checksum(b[4:], castagnoli))
	}
	if _, err := w.t.f.WriteAt(b[:], int64(w.slot)*slotBytes); err != nil && !errors.Is(err, os.ErrClosed) {
		w.t.sayOnce.Do(func() {
			w.t.logger.Warn("what is acknowledged cannot be noted: damage at the end of logs may go unnoticed", "error", err)
		})
	}
}

// Acked notes that the log was acknowledged up to seq.
func (w *Witness) Acked(seq uint64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq <= w.last || w.state == 0 {
		return
	}
	w.last, w.state = seq, slotLog
	if !w.dirty {
		w.dirty = true
		w.t.noteSoon(w)
	}
}

// Last is the highest sequence that was acknowledged, as far as is known.
func (w *Witness) Last() uint64 {
	last, _ := w.limits()
	return last
}

// Floor is the lowest sequence that was never dropped.
func (w *Witness) Floor() uint64 {
	_, floor := w.limits()
	return floor
}

func (w *Witness) limits() (last, floor uint64) {
	if w == nil {
		return 0, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.floor
}

// set replaces what is known.
func (w *Witness) set(state byte, last, floor uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != state || w.last != last || w.floor != floor {
		w.state, w.last, w.floor = state, last, floor
		w.write()
	}
}

// deleting says that the log may be gone without that being damage, or be one
// of the same name that was made later. When it returns, that is on disk.
func (w *Witness) deleting() error {
	w.set(slotDeleting, 0, 0)
	return w.t.sync()
}

func (w *Witness) isDeleting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state == slotDeleting
}

// Trimming notes that what is below before is about to be dropped. When it
// returns, that is on disk.
func (w *Witness) Trimming(before uint64) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if before <= w.floor || w.state == 0 {
		return nil
	}
	w.floor = before
	w.write()
	return w.t.sync()
}
