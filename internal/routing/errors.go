package routing

import (
	"errors"
	"fmt"
)

// Errors of Apply and Route. Test for them with errors.Is. A command that fails
// changes nothing.
var (
	// ErrNotFound: there is no such exchange, queue or topic.
	ErrNotFound = errors.New("not found")
	// ErrInequivalent: an exchange of that name exists with other attributes.
	ErrInequivalent = errors.New("inequivalent redeclaration")
	// ErrInUse: an exchange was to be deleted only if unused, and has bindings.
	ErrInUse = errors.New("in use")
	// ErrDefaultExchange: the default exchange cannot be declared, deleted,
	// bound or unbound.
	ErrDefaultExchange = errors.New(`the default exchange "" is fixed: it reaches every queue by its name`)
	// ErrInternal: only other exchanges route to an internal exchange.
	ErrInternal = errors.New("internal exchange")
	// ErrInvalid: the command is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: a limit of Limits is exceeded; the message names it.
	ErrLimit = errors.New("over a limit")
)

// InequivalentError is an ErrInequivalent that names the first difference.
type InequivalentError struct {
	Exchange          string
	Arg               string // as RabbitMQ names it: type, durable, auto_delete, internal, alternate-exchange, …
	Received, Current string
}

func (e *InequivalentError) Error() string {
	return fmt.Sprintf("inequivalent arg '%s' for exchange '%s': received '%s' but current is '%s': declare it as it is, or delete it first",
		e.Arg, e.Exchange, e.Received, e.Current)
}

// Is makes it an ErrInequivalent.
func (e *InequivalentError) Is(target error) bool { return target == ErrInequivalent }

func over(name string, limit int, what string) error {
	return fmt.Errorf("%w: %s, and Limits.%s is %d", ErrLimit, what, name, limit)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
