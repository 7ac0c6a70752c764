package natsnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// started ends the time in which warnings are about configuration we chose.
func (l *logger) started() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting = false
}

func (l *logger) Warnf(format string, v ...any) {
	l.mu.Lock()
	level := slog.LevelWarn
	if l.starting {
		level = slog.LevelDebug
	}
	l.mu.Unlock()
	msg := fmt.Sprintf(format, v...)
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
