package natsnode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ackedTable keeps, outside the files of the logs themselves, how far each log
// was acknowledged. It is a file of slots of slotBytes each, which are written in
// place. An acknowledgement gets there within noteWithin, in the background: an
// append does not wait for it. It is not synced before the store is closed: what
// the process handed to the operating system survives its death, and that is all
// the table is for after a kill. After a power cut it may lag behind by as much
// as the system delays its writes, which makes it say less and never too much.
// So what lowers the obligations of a log, a trim or a deletion, is synced first.
//
// The file is read at start only, so slots can be handed out anew.
type ackedTable struct {
	f       *os.File
	logger  *slog.Logger
	sayOnce sync.Once // that the table cannot be written

	mu    sync.Mutex // may be held when that of a Witness is taken
	slots int        // in the file
	free  []int
	logs  map[string]*Witness

	dirtyMu sync.Mutex // may be taken when that of a Witness is held
	dirty   []*Witness
	timer   *time.Timer // runs while there are dirty ones
}

// noteWithin is how long an acknowledgement may stay in memory alone: 2 ms. What
// was acknowledged that shortly before a kill, and is damaged, is not missed.
const noteWithin = 2 * time.Millisecond

// A slot: crc32c(4) of what follows, state(1), length of the name(1), nothing(2),
// last(8), floor(8), name. All numbers are little-endian. It lies within one
// sector of a disk, so it is never written in part.
const (
	slotBytes    = 256
	slotName     = 24
	slotNameMax  = slotBytes - slotName
	slotsAtOnce  = 16 // the file grows by pages
	ackedTabName = "acknowledged"
)

// States of a slot; 0 is a free one.
const (
	slotLog      = 1
	slotDeleting = 2 // the log may be there or not
	slotBoot     = 3 // the first slot: the name is that of the boot of the machine
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openAcked reads the table in dir; boot is the name under which the machine was
// booted when the table was last in use. Slots that cannot be read count as free.
func openAcked(dir string, logger *slog.Logger) (t *ackedTable, boot string, err error) {
	path := filepath.Join(dir, ackedTabName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	t = &ackedTable{f: f, logger: logger, slots: len(b) / slotBytes, logs: map[string]*Witness{}}
	bad := 0
	for i := range t.slots {
		w, ok := parseSlot(b[i*slotBytes : (i+1)*slotBytes])
		switch {
		case !ok:
			bad++
		case w.state == slotBoot:
			boot = w.name
		case w.state != 0:
			w.t, w.slot = t, i
			t.logs[w.name] = w
			continue
		}
		if i > 0 {
			t.free = append(t.free, i)
		}
	}
	if bad > 0 {
		logger.Warn("the record of what was acknowledged is damaged: the end of some logs cannot be checked", "file", path, "entries", bad)
	}
	return t, boot, nil
}

func parseSlot(b []byte) (w *Witness, ok bool) {
	w = &Witness{state: b[4], last: binary.LittleEndian.Uint64(b[8:]), floor: binary.LittleEndian.Uint64(b[16:])}
	sum, n := binary.LittleEndian.Uint32(b), int(b[5])
	if w.state == 0 && sum == 0 {
		return w, true
	}
	if n > slotNameMax || w.state > slotBoot || crc32.Checksum(b[4:], castagnoli) != sum {
		return w, false
	}
	w.name = string(b[slotName : slotName+n])
	return w, true
}

// noteSoon has a witness written in a moment.
func (t *ackedTable) noteSoon(w *Witness) {
	t.dirtyMu.Lock()
	defer t.dirtyMu.Unlock()
	t.dirty = append(t.dirty, w)
	switch {
	case len(t.dirty) > 1:
	case t.timer == nil:
		t.timer = time.AfterFunc(noteWithin, t.note)
	default:
		t.timer.Reset(noteWithin)
	}
}

// note writes the witnesses that have changed. One may have been dropped since,
// and its slot be another's.
func (t *ackedTable) note() {
	t.dirtyMu.Lock()
	dirty := t.dirty
	t.dirty = nil
	t.dirtyMu.Unlock()
	for _, w := range dirty {
		w.mu.Lock()
		w.dirty = false
		if w.state != 0 {
			w.write()
		}
		w.mu.Unlock()
	}
}

// find returns the witness of a log, nil if there is none.
func (t *ackedTable) find(name string) *Witness {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.logs[name]
}

// all returns the witnesses there are.
func (t *ackedTable) all() []*Witness {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*Witness
	for _, w := range t.logs {
		all = append(all, w)
	}
	return all
}

// begin returns the witness of a log. If there is none, it makes one that takes
// the log as it is now for what it should be.
func (t *ackedTable) begin(name string, last, floor uint64) *Witness {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.logs[name]; w != nil && !w.isDeleting() {
		return w
	}
	w := t.logs[name]
	if w == nil {
		slot, err := t.allocate()
		if err != nil {
			t.logger.Warn("what is acknowledged cannot be noted: damage at the end of a log may go unnoticed", "log", name, "error", err)
			return nil
		}
		w = &Witness{t: t, slot: slot, name: name}
		t.logs[name] = w
	}
	w.set(slotLog, last, floor)
	return w
}

// allocate returns a free slot; the lock is held. Slot 0 is that of the boot.
func (t *ackedTable) allocate() (int, error) {
	if len(t.free) == 0 {
		from := t.slots
		if _, err := t.f.WriteAt(make([]byte, slotsAtOnce*slotBytes), int64(from)*slotBytes); err != nil {
			return 0, err
		}
		t.slots += slotsAtOnce
		for i := t.slots - 1; i >= max(from, 1); i-- {
			t.free = append(t.free, i)
		}
	}
	slot := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	return slot, nil
}

// forget drops the witness of a log that is gone.
func (t *ackedTable) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.logs[name]
	if w == nil {
		return
	}
	w.set(0, 0, 0)
	delete(t.logs, name)
	t.free = append(t.free, w.slot)
}

// booted notes under which name the machine is booted now.
func (t *ackedTable) booted(boot string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots == 0 {
		slot, err := t.allocate()
		if err != nil {
			return // then there is no slot of a log either
		}
		t.free = append(t.free, slot)
	}
	w := &Witness{t: t, name: boot[:min(len(boot), slotNameMax)]}
	w.set(slotBoot, 0, 0)
}

func (t *ackedTable) sync() error {
	if err := t.f.Sync(); err != nil {
		return fmt.Errorf("note what may be dropped: %w", err)
	}
	return nil
}

func (t *ackedTable) close() error {
	t.note()
	return errors.Join(t.f.Sync(), t.f.Close())
}
