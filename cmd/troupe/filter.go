package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/troupestream/troupe/actor"
)

// filters are what messages have to be like, all of it: NAME=TEXT, or NAME~TEXT, which
// is that it contains it.
type filters []filter

type filter struct {
	of       func(*actor.QueueMessage) []string // what the message has of it
	text     string
	contains bool
}

const filterForms = "body, key, record-key, exchange, origin, reason, error, status, id, type, position or header:NAME"

// String implements flag.Value.
func (f *filters) String() string { return "" }

// Set implements flag.Value.
func (f *filters) Set(text string) error {
	i := strings.IndexAny(text, "=~")
	if i < 0 {
		return fmt.Errorf("it must be NAME=TEXT or NAME~TEXT, where NAME is %s", filterForms)
	}
	name, one := text[:i], filter{text: text[i+1:], contains: text[i] == '~'}
	if header, ok := strings.CutPrefix(name, "header:"); ok && header != "" {
		one.of = func(m *actor.QueueMessage) []string { return headerTexts(m, header) }
	} else if of := filterNames[name]; of != nil {
		one.of = func(m *actor.QueueMessage) []string { return []string{of(m)} }
	} else {
		return fmt.Errorf("there is no %q to filter by: there are %s", name, filterForms)
	}
	*f = append(*f, one)
	return nil
}

var filterNames = map[string]func(*actor.QueueMessage) string{
	"body":       func(m *actor.QueueMessage) string { return string(m.Body) },
	"key":        func(m *actor.QueueMessage) string { return m.RoutingKey },
	"record-key": func(m *actor.QueueMessage) string { return string(m.Key) },
	"exchange":   func(m *actor.QueueMessage) string { return m.Exchange },
	"origin":     func(m *actor.QueueMessage) string { return m.Origin },
	"reason":     func(m *actor.QueueMessage) string { return m.Died },
	"error":      func(m *actor.QueueMessage) string { return m.Error },
	"status":     func(m *actor.QueueMessage) string { return m.Status.String() },
	"id":         func(m *actor.QueueMessage) string { return m.MessageID },
	"type":       func(m *actor.QueueMessage) string { return m.Type },
	"position":   func(m *actor.QueueMessage) string { return m.Position.String() },
}

func headerTexts(m *actor.QueueMessage, name string) (all []string) {
	for _, h := range m.Headers {
		if h.Name == name {
			all = append(all, typedOf([]actor.MessageHeader{h})[0].Value)
		}
	}
	return all
}

// match says whether a message is like that; without filters each is.
func (f filters) match(m *actor.QueueMessage) bool {
	return !slices.ContainsFunc(f, func(one filter) bool {
		return !slices.ContainsFunc(one.of(m), func(has string) bool {
			return has == one.text || one.contains && strings.Contains(has, one.text)
		})
	})
}

// edits are what is changed of messages that are published again: NAME=TEXT.
type edits []func(*actor.Message)

const editForms = "body, record-key, priority, id, type, content-type or header:NAME"

// String implements flag.Value.
func (e *edits) String() string { return "" }

// Set implements flag.Value.
func (e *edits) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("it must be NAME=TEXT, where NAME is %s", editForms)
	}
	if strings.HasPrefix(name, "header:") {
		var h typedHeaders
		if err := h.Set(strings.TrimPrefix(text, "header:")); err != nil {
			return err
		}
		*e = append(*e, func(m *actor.Message) { setHeader(m, h[0]) })
		return nil
	}
	f, err := editOf(name, value)
	if err == nil {
		*e = append(*e, f)
	}
	return err
}

func editOf(name, value string) (func(*actor.Message), error) {
	switch name {
	case "body":
		return func(m *actor.Message) { m.Body = []byte(value) }, nil
	case "record-key":
		return func(m *actor.Message) { m.Key = []byte(value) }, nil
	case "id":
		return func(m *actor.Message) { m.MessageID = value }, nil
	case "type":
		return func(m *actor.Message) { m.Type = value }, nil
	case "content-type":
		return func(m *actor.Message) { m.ContentType = value }, nil
	case "priority":
		p, err := priorityOf(value)
		return func(m *actor.Message) { m.Priority = p }, err
	}
	return nil, fmt.Errorf("there is no %q to edit: there are %s", name, editForms)
}

// priorityOf reads a priority.
func priorityOf(text string) (uint8, error) {
	p, err := strconv.ParseUint(text, 10, 8)
	if err != nil || p > 31 {
		return 0, errors.New("a priority is a number of 0 to 31")
	}
	return uint8(p), nil
}

// setHeader has a message have one header of a name, with a value.
func setHeader(m *actor.Message, h actor.MessageHeader) {
	m.Headers = append(slices.DeleteFunc(m.Headers, func(o actor.MessageHeader) bool { return o.Name == h.Name }), h)
}

// apply edits a message.
func (e edits) apply(m *actor.Message) {
	for _, f := range e {
		f(m)
	}
}
