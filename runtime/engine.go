package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/topology"
)

// Engine is a worker process: a store in a data directory, and the actors on it.
// It is safe for concurrent use.
type Engine struct {
	config      config
	dir         string
	temporary   bool
	log         *slog.Logger
	store       storage.Store
	system      *actor.System
	telemetry   *telemetry.Telemetry
	metrics     *telemetry.Instruments
	logs        logFigures
	compactions compactionFigures

	mu     sync.Mutex
	jobs   map[string]*Job
	past   map[string]telemetry.Snapshot // what is still to be told of jobs that have ended, by name
	closed bool
}

// ErrClosed: the engine was closed, or a handle was; it is actor.ErrClosed.
var ErrClosed = actor.ErrClosed

// Open starts an engine. Close it.
func Open(ctx context.Context, opts ...Option) (*Engine, error) {
	if ctx == nil {
		return nil, errors.New("runtime: the context is nil: give Open context.Background()")
	}
	c := defaults()
	if err := c.apply(opts); err != nil {
		return nil, err
	}
	e := &Engine{config: c, dir: c.engine.dir, log: c.engine.logger, jobs: map[string]*Job{}, past: map[string]telemetry.Snapshot{}}
	if e.log == nil {
		e.log = slog.Default()
	}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.release(ctx))
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (err error) {
	c := &e.config.engine
	if e.store, err = e.openStore(ctx); err != nil {
		return err
	}
	e.telemetry, err = telemetry.Open(ctx, telemetry.Options{TracerProvider: c.tracers, MeterProvider: c.meters, SampleRatio: c.ratio})
	if err != nil {
		return err
	}
	messaging, err := e.telemetry.Messaging()
	if err != nil {
		return err
	}
	e.system = actor.NewSystem(e.store, actor.WithLogger(e.log), actor.WithOnAppend(e.appended), actor.WithOnCompact(e.compacted),
		actor.WithOnMailboxFull(e.mailboxFull), actor.WithTelemetry(e.telemetry.Tracer(), messaging),
		actor.WithOnQueueWarning(c.queueWarning))
	if e.metrics, err = e.telemetry.Instruments(e.snapshot); err != nil {
		return err
	}
	e.system.Go(e.wakeTopics)
	e.system.Go(e.wakeQueues)
	return nil
}

// wakeTopics starts the partitions of all topics there are: those that nobody uses
// have records to drop, too, when their time has come.
func (e *Engine) wakeTopics(ctx context.Context) {
	err := e.wake(ctx, "topic_", func() error {
		all, err := e.system.Topics(ctx)
		for _, t := range all {
			if _, wake := e.system.Topic(ctx, t.Name); !errors.Is(wake, actor.ErrNoTopic) {
				err = errors.Join(err, wake)
			}
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		e.log.Warn("topics that nobody uses keep more than they should", "error", err)
	}
}

// wake calls f unless there are no logs of that prefix, so that what was never used takes
// nothing.
func (e *Engine) wake(ctx context.Context, prefix string, f func() error) error {
	if logs, err := e.store.Logs(ctx, prefix); err == nil && len(logs) == 0 {
		return nil
	}
	return f()
}

func (e *Engine) openStore(ctx context.Context) (storage.Store, error) {
	if s := e.config.engine.store; s != nil {
		return s, nil
	}
	if e.dir == "" {
		dir, err := os.MkdirTemp("", "troupe-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary data directory: %w; name one with DataDir", err)
		}
		e.dir, e.temporary = dir, true
	}
	return storage.Open(ctx, e.dir, storage.Options{Logger: e.log})
}

// Declare returns the topic of that name, and creates it when there is none. A
// topic that was declared differently is an error that names the difference.
func (e *Engine) Declare(ctx context.Context, name string, c actor.TopicConfig) (*actor.Topic, error) {
	if err := actor.CheckName(name); err != nil {
		return nil, err
	}
	return e.system.Declare(ctx, name, c)
}

// Topic returns the topic of that name, or actor.ErrNoTopic.
func (e *Engine) Topic(ctx context.Context, name string) (*actor.Topic, error) {
	return e.system.Topic(ctx, name)
}

// Topics lists the topics, without those that Troupe keeps for itself.
func (e *Engine) Topics(ctx context.Context) ([]actor.TopicInfo, error) {
	all, err := e.system.Topics(ctx)
	return slices.DeleteFunc(all, func(t actor.TopicInfo) bool { return actor.Internal(t.Name) }), err
}

// Group returns the consumer group of that name, or actor.ErrNoGroup. A group is
// there once it has had a member or was given a place to begin at; for the latter see
// actor.System.Group.
func (e *Engine) Group(ctx context.Context, name string) (*actor.Group, error) {
	return e.system.FindGroup(ctx, name)
}

// Groups lists the consumer groups by name.
func (e *Engine) Groups(ctx context.Context) ([]string, error) { return e.system.Groups(ctx) }

// System returns the actor system, for programs that bring actors of their own.
func (e *Engine) System() *actor.System { return e.system }

// Dir is the data directory.
func (e *Engine) Dir() string { return e.dir }

// Run starts a topology and waits for its end; see Job.Wait. When ctx ends, the
// job is stopped in good order.
func (e *Engine) Run(ctx context.Context, b *topology.Builder, opts ...Option) (Report, error) {
	j, err := e.Start(ctx, b, opts...)
	if err != nil {
		return Report{}, err
	}
	if j.config.statusForced {
		defer j.show()()
	}
	return j.await(ctx)
}

// Start starts a topology. Its name identifies the job: an engine runs one of a
// name at a time, and a job continues from the checkpoints of its name.
func (e *Engine) Start(ctx context.Context, b *topology.Builder, opts ...Option) (*Job, error) {
	c := e.config
	c.touched = false
	if err := c.apply(opts); err != nil {
		return nil, err
	}
	if c.touched {
		return nil, errors.New("runtime: DataDir, Logger, the providers and SampleRatio belong to Open: they concern the engine as a whole")
	}
	g, err := b.Build()
	if err != nil {
		return nil, err
	}
	drawing, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("describe topology %q: %w", g.Name(), err)
	}
	return e.start(newJob(e, g, c.job, drawing))
}

func (e *Engine) start(j *Job) (*Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("the engine: %w", ErrClosed)
	}
	if before := e.jobs[j.name]; before != nil {
		if err := before.givenUp(); err != nil {
			return nil, fmt.Errorf("job %q cannot start again before what hangs has returned, or the process was restarted: %w", j.name, err)
		}
		return nil, fmt.Errorf("job %q is running: stop it first, or give the topology another name", j.name)
	}
	handle, err := e.system.StartJob(j.spec())
	if err != nil {
		return nil, err
	}
	j.handle = handle
	e.jobs[j.name] = j
	delete(e.past, j.name)
	go j.watch()
	return j, nil
}

func (e *Engine) forget(j *Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.jobs, j.name)
	e.past[j.name] = j.lastly()
}

// Jobs are the jobs that run, in no order.
func (e *Engine) Jobs() []*Job {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*Job, 0, len(e.jobs))
	for _, j := range e.jobs {
		all = append(all, j)
	}
	return all
}

// Close stops all jobs and closes all consumers in good order, and then the engine.
// Close or flush producers before: what they have under way may fail. Jobs that take
// longer than their StopTimeout, or are still running when ctx ends, are ended without
// a last checkpoint; an error says so. A job that hangs, which Stop or Kill has said, is
// left behind. A collector of telemetry has one second to take the last of it; one
// that is down costs no more than that, and a warning.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	var errs []error
	for _, j := range e.Jobs() {
		j.handle.Stop()
	}
	errs = append(errs, e.system.CloseConsumers(ctx))
	for _, j := range e.Jobs() {
		told := j.givenUp()
		if _, err := j.Stop(ctx); err != nil && err != told {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			j.handle.Kill(ErrKilled)
		}
	}
	if ctx.Err() != nil {
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
		defer cancel()
		ctx = patient
	}
	return errors.Join(errors.Join(errs...), e.release(ctx))
}

// releasePatience is how long Close still waits for actors, whose jobs are
// killed by then, when its context has ended.
const releasePatience = 10 * time.Second

// release closes what is open. Telemetry goes once there is nothing left to tell.
func (e *Engine) release(ctx context.Context) error {
	var errs []error
	if e.system != nil {
		errs = append(errs, e.system.Close(ctx))
	}
	if e.telemetry != nil {
		if err := e.telemetry.Shutdown(context.WithoutCancel(ctx)); err != nil {
			e.log.Warn("the last telemetry was not exported", "error", err)
		}
	}
	if e.metrics != nil { // the last export has asked it
		errs = append(errs, e.metrics.Close())
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	if e.temporary {
		errs = append(errs, os.RemoveAll(e.dir))
	}
	return errors.Join(errs...)
}
