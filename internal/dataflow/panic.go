package dataflow

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Panic is a panic of code that is not the engine's, as an error.
type Panic struct {
	Cause any
	Stack string
}

func (p *Panic) Error() string { return fmt.Sprintf("user code panicked: %v", p.Cause) }

// Unwrap returns the cause when the panic's value was an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Cause.(error)
	return err
}

// Recovered turns a panic into a *Panic. It is deferred by functions that call user
// code.
func Recovered(err *error) {
	if cause := recover(); cause != nil {
		*err = &Panic{Cause: cause, Stack: string(debug.Stack())}
	}
}

// Protect calls f and returns its error, or its panic as one. Where f ends the
// goroutine, nothing returns.
func Protect(f func() error) (err error) {
	defer Recovered(&err)
	return f()
}

// StackOf is the stack of the panic that an error stands for; "" if there was none.
func StackOf(err error) string {
	if err == nil {
		return ""
	}
	var p *Panic // behind the return: it is allocated
	if errors.As(err, &p) {
		return p.Stack
	}
	var f *Failure
	if errors.As(err, &f) {
		return f.Stack
	}
	return ""
}

// Call runs a part of the node that a user may have written, and names the node
// in its error, or its panic.
func (n *Node) Call(f func() error) error {
	if err := Protect(f); err != nil {
		return fmt.Errorf("%s: %w", n.Title(), err)
	}
	return nil
}

// Title is what the node is called in errors.
func (n *Node) Title() string {
	kind := "operator"
	switch n.Role {
	case Source:
		kind = "source"
	case Sink:
		kind = "sink"
	}
	return fmt.Sprintf("%s %q", kind, n.Name)
}
