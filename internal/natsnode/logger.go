package natsnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// logger hands the server's warnings and errors to slog, and listens for the
// words with which the server says that it gives up writing: it has no other
// way to tell. At replication factor 1 a publisher gets no answer then.
type logger struct {
	to     *slog.Logger
	broken chan struct{}

	mu       sync.Mutex
	starting bool
	first    error
	isDown   bool
}

func newLogger(to *slog.Logger) *logger {
	return &logger{to: to, broken: make(chan struct{}), starting: true}
}

// expected are the beginnings of warnings that say nothing while the server
// starts: that we allow large messages, and that after a crash it does not rely
// on the index of a log, but reads the log.
var expected = []string{"Maximum payloads", "Filestore ["}

func (l *logger) isExpected(msg string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starting && slices.ContainsFunc(expected, func(s string) bool { return strings.HasPrefix(msg, s) })
}

// started ends the time in which such warnings are expected.
func (l *logger) started() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting = false
}

func (l *logger) Warnf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	level := slog.LevelWarn
	if l.isExpected(msg) {
		level = slog.LevelDebug
	}
	l.to.Log(context.Background(), level, msg)
	l.listen(msg)
}

func (l *logger) Errorf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	l.to.Error(msg)
	l.mu.Lock()
	if l.first == nil {
		l.first = errors.New(msg)
	}
	l.mu.Unlock()
	l.listen(msg)
}

func (l *logger) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
func (l *logger) Noticef(string, ...any)         {}
func (l *logger) Debugf(string, ...any)          {}
func (l *logger) Tracef(string, ...any)          {}

// givingUp are what v2.15.2 logs when it stops writing: stream.go
// setWriteErrLocked, filestore.go setWriteErr, jetstream.go handleOutOfSpace
// and handleWritePermissionError. A test fills a disk and fails when an update
// words it otherwise.
var givingUp = []string{"ritical write error", "will be DISABLED", "disabling JetStream"}

func (l *logger) listen(msg string) {
	for _, words := range givingUp {
		if strings.Contains(msg, words) {
			l.mu.Lock()
			if !l.isDown {
				l.isDown = true
				close(l.broken)
			}
			l.mu.Unlock()
		}
	}
}

func (l *logger) isBroken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isDown
}

func (l *logger) firstError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		return errNotReady
	}
	return l.first
}
