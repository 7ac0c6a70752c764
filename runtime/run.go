package runtime

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/troupestream/troupe/topology"
)

// Run opens an engine, runs one topology to its end, and closes the engine. It
// ends when the input has ended, when the job fails for good, when ctx ends, or
// at SIGINT or SIGTERM. The last two stop the job in good order: sources read
// no further, what they have read goes through to the sinks, a last checkpoint
// is taken, and Run returns without an error; a second signal ends the process
// at once, with 128 and the signal's number as its status.
//
// While it runs it shows how it is doing on standard error, if that is a
// terminal.
func Run(ctx context.Context, b *topology.Builder, opts ...Option) (Report, error) {
	if b == nil {
		return Report{}, errors.New("runtime: the topology is nil")
	}
	// Mistakes in the topology are told before anything is opened.
	if _, err := b.Build(); err != nil {
		return Report{}, err
	}
	// A signal that comes while the engine opens stops the job, too.
	ctx, release := untilSignal(ctx)
	defer release()
	lasting := context.WithoutCancel(ctx)
	e, err := Open(lasting, opts...)
	if err != nil {
		return Report{}, err
	}
	report, err := e.runShown(ctx, b)
	return report, errors.Join(err, e.Close(lasting))
}

func (e *Engine) runShown(ctx context.Context, b *topology.Builder) (Report, error) {
	j, err := e.Start(ctx, b)
	if err != nil {
		return Report{}, err
	}
	stop := j.show()
	defer stop()
	return j.await(ctx)
}

// untilSignal returns a context that ends at the first signal. The second ends
// the process: a stop that drains may take a while, and the user has decided
// not to wait.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ended:
			return
		}
		select {
		case s := <-signals:
			os.Exit(exitStatus(s))
		case <-ended:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(ended)
		cancel()
	}
}

func exitStatus(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}
