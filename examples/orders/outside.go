package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// outside is somebody who is not part of this program, a bank or a mail server: what it
// was asked to do it does, twice if it is asked twice, and nothing takes it back. All it
// offers is to say whether it has done something. It writes down what it does, a line of
// JSON each.
type outside struct {
	file *os.File

	mu   sync.Mutex
	done map[string]int // times, by order
}

// act is a line of what was done.
type act struct {
	Order string `json:"order_id"`
	Did   string `json:"did"`
	Cents int64  `json:"cents,omitempty"`
}

func openOutside(path string) (*outside, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("what the world outside does cannot be written down, choose another -out: %w", err)
	}
	o := &outside{file: file, done: map[string]int{}}
	if err := o.recall(path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return o, nil
}

func (o *outside) recall(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		var a act
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("%s is not as it was written, begin anew with another -data and -out: %w", path, err)
		}
		o.done[a.Order]++
	}
	return nil
}

// act does something. It is done when its line is written, whole, by one call of the
// system.
func (o *outside) act(a act) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.file.Write(append(line, '\n')); err != nil {
		return err
	}
	o.done[a.Order]++
	return nil
}

// has says whether something was done for an order.
func (o *outside) has(order string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done[order] > 0
}

// times is for how many orders something was done, and for how many more than once.
func (o *outside) times() (orders, twice int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.done {
		if n > 1 {
			twice++
		}
	}
	return len(o.done), twice
}

func (o *outside) close() error { return o.file.Close() }
