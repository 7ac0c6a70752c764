package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/troupestream/troupe/actor"
)

// place is a place in a partition, as it is named on the command line.
type place struct {
	text string
	from actor.From
	ago  time.Duration // if it is that
	by   int64         // if it is shifted
	kind placeKind
}

type placeKind uint8

const (
	placeFrom placeKind = iota
	placeAgo
	placeShift
)

const placeForms = "earliest, latest, an offset (17), a time of arrival (2026-11-22T08:00:00Z), or a time ago (90m)"

// String implements flag.Value.
func (p *place) String() string { return p.text }

// Set implements flag.Value.
func (p *place) Set(text string) error {
	if text == "" {
		return fmt.Errorf("it must be %s", placeForms)
	}
	*p = place{text: text}
	if offset, err := strconv.ParseUint(text, 10, 64); err == nil && text[0] != '+' {
		p.from = actor.FromOffset(offset)
		return nil
	}
	switch at, ago, ok := timeOrAgo(text); {
	case ago > 0:
		p.kind, p.ago = placeAgo, ago
		return nil
	case ok:
		p.from = actor.FromTime(at)
		return nil
	}
	if by, err := strconv.ParseInt(text, 10, 64); err == nil && strings.ContainsAny(text[:1], "+-") {
		p.kind, p.by = placeShift, by
		return nil
	}
	switch text {
	case "earliest":
		p.from = actor.FromBeginning()
	case "latest":
		p.from = actor.FromEnd()
	default:
		return fmt.Errorf("it must be %s", placeForms)
	}
	return nil
}

// timeOrAgo reads a time, or how long ago it was: then ago is above 0.
func timeOrAgo(text string) (at time.Time, ago time.Duration, ok bool) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err == nil {
		return at, 0, true
	}
	ago, err = time.ParseDuration(text)
	if err != nil || ago <= 0 || text[0] == '+' {
		return time.Time{}, 0, false
	}
	return time.Time{}, ago, true
}

// start is the place for a reader or a consumer that begins.
func (p *place) start(now time.Time) (actor.From, error) {
	switch p.kind {
	case placeAgo:
		return actor.FromTime(now.Add(-p.ago)), nil
	case placeShift:
		return actor.From{}, mistakef("-from %s: a shift is from somewhere; it must be %s", p.text, placeForms)
	}
	return p.from, nil
}

// move is the place for a group that is moved.
func (p *place) move() actor.Move {
	switch p.kind {
	case placeAgo:
		return actor.MoveAgo(p.ago)
	case placeShift:
		return actor.MoveBy(p.by)
	}
	return actor.MoveTo(p.from)
}

// numbers is an option that may be given several times, or as a list: partitions.
type numbers []int

// String implements flag.Value.
func (n *numbers) String() string {
	var all []string
	for _, i := range *n {
		all = append(all, strconv.Itoa(i))
	}
	return strings.Join(all, ",")
}

// Set implements flag.Value.
func (n *numbers) Set(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		i, err := strconv.Atoi(one)
		if err != nil || i < 0 {
			return fmt.Errorf("%q is no partition: they are numbered from 0", one)
		}
		if !slices.Contains(*n, i) {
			*n = append(*n, i)
		}
	}
	return nil
}
