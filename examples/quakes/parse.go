package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/troupestream/troupe/sources"
)

// Quake is an earthquake, and the line it was read from.
type Quake struct {
	Net    string // the network that reported it
	Time   int64  // Unix milliseconds
	Mag    float64
	Depth  float64 // km
	Line   int64
	Record json.RawMessage
}

func (q Quake) time() time.Time { return time.UnixMilli(q.Time) }

// feature is a line of the feed. The fields that count are pointers, so that
// one that is missing is not taken for 0.
type feature struct {
	ID        string   `json:"id"`
	Time      *int64   `json:"time"`
	Updated   int64    `json:"updated"`
	Mag       *float64 `json:"mag"`
	MagType   string   `json:"magType"`
	Place     string   `json:"place"`
	Net       string   `json:"net"`
	Type      string   `json:"type"`
	Status    string   `json:"status"`
	Longitude float64  `json:"longitude"`
	Latitude  float64  `json:"latitude"`
	Depth     *float64 `json:"depth"`
}

// parse is strict: a field that it does not know may be a misspelt one that it
// should.
func parse(l sources.Line) (Quake, error) {
	if l.TooLong {
		return Quake{}, fmt.Errorf("the line is longer than %d bytes", sources.DefaultMaxLineBytes)
	}
	d := json.NewDecoder(strings.NewReader(l.Text))
	d.DisallowUnknownFields()
	var f feature
	if err := d.Decode(&f); err != nil {
		return Quake{}, fmt.Errorf("it is not the JSON of an earthquake: %w", describe(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return Quake{}, errors.New("more follows the JSON object")
	}
	if err := f.check(); err != nil {
		return Quake{}, err
	}
	return Quake{Net: f.Net, Time: *f.Time, Mag: *f.Mag, Depth: *f.Depth, Line: l.Number, Record: json.RawMessage(l.Text)}, nil
}

func describe(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}

// What can be true of an earthquake on Earth. A sum over such numbers is finite,
// and such times are within what windows take.
const (
	maxNetBytes = 32
	maxMag      = 12.0
	maxDepth    = 6_400.0 // km: the centre
	maxYear     = 9999
)

func (f *feature) check() error {
	switch {
	case f.Net == "" || len(f.Net) > maxNetBytes:
		return fmt.Errorf("net must be 1 to %d bytes long", maxNetBytes)
	case f.Time == nil || f.Mag == nil || f.Depth == nil:
		return errors.New("time, mag and depth must be there and not null")
	case math.Abs(*f.Mag) > maxMag:
		return fmt.Errorf("%v is not a magnitude", *f.Mag)
	case math.Abs(*f.Depth) > maxDepth:
		return fmt.Errorf("%v km is not a depth", *f.Depth)
	}
	if year := time.UnixMilli(*f.Time).UTC().Year(); year < 1 || year > maxYear {
		return fmt.Errorf("time %d is not in the years 1 to %d", *f.Time, maxYear)
	}
	return nil
}
