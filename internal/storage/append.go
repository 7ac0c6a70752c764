package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// appender makes the appends of one handle over one link: a subscription for
// the answers, of which it awaits one at a time.
type appender struct {
	l       *link
	inbox   string // ends with a dot; the number of the append follows
	answers chan *nats.Msg
	sub     *nats.Subscription
	n       uint64
	timer   *time.Timer
}

func newAppender(l *link) (*appender, error) {
	a := &appender{l: l, inbox: l.appends.NewRespInbox() + ".", answers: make(chan *nats.Msg, 64)}
	a.timer = time.NewTimer(time.Hour)
	a.timer.Stop()
	var err error
	a.sub, err = l.appends.ChanSubscribe(a.inbox+"*", a.answers)
	return a, err
}

func (a *appender) close() {
	a.timer.Stop()
	_ = a.sub.Unsubscribe() // fails only when the connection is gone, and the subscription with it
}

// append publishes one entry and waits for the answer to it. An answer to an
// earlier append, whose waiter gave up, has another number and is dropped.
func (a *appender) append(ctx context.Context, subject string, data []byte, expect uint64, timeout time.Duration) (uint64, error) {
	a.n++
	reply := a.inbox + strconv.FormatUint(a.n, 10)
	m := nats.Msg{Subject: subject, Reply: reply, Data: data,
		Header: nats.Header{"Nats-Expected-Last-Sequence": {strconv.FormatUint(expect, 10)}}}
	if err := a.l.appends.PublishMsg(&m); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			return 0, ErrTooLarge
		}
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	a.timer.Reset(timeout)
	defer a.timer.Stop()
	for {
		select {
		case answer := <-a.answers:
			if answer.Subject == reply {
				return parseAck(answer)
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
		case <-a.timer.C:
			return 0, fmt.Errorf("%w: no answer within %s", ErrUnknown, timeout)
		case <-a.l.dead:
			return 0, fmt.Errorf("%w: the connection was lost", ErrUnknown)
		case <-a.l.broken:
			return 0, fmt.Errorf("%w: the store met a write error", ErrUnknown)
		}
	}
}

var (
	ackError = []byte(`"error"`)
	ackSeq   = []byte(`"seq":`)
)

// parseAck reads `{"stream":"x", "seq":7}`. Only refusals are worth the price
// of a JSON decoder.
func parseAck(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, errNobody
	}
	if bytes.Contains(m.Data, ackError) {
		return 0, parseRefusal(m.Data)
	}
	i := bytes.Index(m.Data, ackSeq)
	if i < 0 {
		return 0, fmt.Errorf("%w: the answer %.100q cannot be read", ErrUnknown, m.Data)
	}
	digits := bytes.TrimLeft(m.Data[i+len(ackSeq):], " ")
	end := 0
	for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
		end++
	}
	seq, err := strconv.ParseUint(string(digits[:end]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: the answer %.100q cannot be read", ErrUnknown, m.Data)
	}
	return seq, nil
}

// errNobody: no stream listens on the subject. Nothing was stored.
var errNobody = errors.New("no stream takes the entry")

func parseRefusal(b []byte) error {
	var answer struct {
		Error struct {
			ErrCode     int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("%w: the answer %.100q cannot be read", ErrUnknown, b)
	}
	return codeError(answer.Error.ErrCode, errors.New(answer.Error.Description))
}

// codeError names the error codes of JetStream that a log knows. Source:
// nats-server, server/errors.json.
func codeError(code int, err error) error {
	switch code {
	case 10071, 10164: // wrong last sequence
		return fmt.Errorf("%w: %w", ErrFenced, err)
	case 10054: // message size exceeds maximum allowed
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case 10002, 10023, 10028, 10047: // resource limits of account, server, memory, storage
		return fmt.Errorf("%w: %w", ErrFull, err)
	case 10059: // stream not found
		return ErrNotFound
	case 10077: // store failed: the limits of a stream, and whatever else kept it from storing
		if strings.Contains(err.Error(), "maximum") || strings.Contains(err.Error(), "no space") {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}
