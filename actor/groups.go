package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage"
)

// Errors of consumer groups. Test for them with errors.Is.
var (
	// ErrNoGroup: there is no consumer group of that name.
	ErrNoGroup = errors.New("there is no such consumer group")
	// ErrMemberFenced: the sender does not own the partition any more.
	ErrMemberFenced = group.ErrFenced
	// ErrGroupActive: the group has members, and this needs it to have none.
	ErrGroupActive = group.ErrGroupActive
)

// GroupActiveError is an ErrGroupActive that names the members.
type GroupActiveError = group.ActiveError

// groups are the consumer groups in use.
type groups struct {
	mu   sync.Mutex
	open map[string]*pactor.PID
}

const groupPrefix = "group_"

func groupLog(name string) string { return groupPrefix + name }

// Group is a handle on a consumer group. It is safe for concurrent use, and ends
// with its system.
type Group struct {
	sys  *System
	name string
	pid  *pactor.PID
}

// Group returns the consumer group of that name, which comes into being with the
// first thing that is said to it, be it Describe: to be told that there is none, use
// FindGroup. A name is like that of a topic. The first use in a process decides about
// config.
func (s *System) Group(name string, config group.Config) (*Group, error) {
	if err := checkGroupName(name); err != nil {
		return nil, err
	}
	if _, err := group.New(config); err != nil {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	d := &s.groups
	d.mu.Lock()
	defer d.mu.Unlock()
	pid := d.open[name]
	if pid == nil {
		var err error
		pid, err = s.Spawn("group/"+name, func() pactor.Actor { return &groupActor{sys: s, name: name, config: config} }, asService(rankLog))
		if err != nil {
			return nil, err
		}
		if d.open == nil {
			d.open = map[string]*pactor.PID{}
		}
		d.open[name] = pid
		s.watches.then(pid, func() { d.forget(name, pid) })
	}
	return &Group{sys: s, name: name, pid: pid}, nil
}

func checkGroupName(name string) error {
	if !topicName.MatchString(name) {
		return fmt.Errorf("group %q: a name consists of a-z, 0-9 and -, begins with a letter and has at most 63 characters", name)
	}
	return nil
}

func (d *groups) forget(name string, pid *pactor.PID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[name] == pid {
		delete(d.open, name)
	}
}

// Groups lists the consumer groups that there are, by name.
func (s *System) Groups(ctx context.Context) ([]string, error) {
	logs, err := s.store.Logs(ctx, groupPrefix)
	for i := range logs {
		logs[i] = strings.TrimPrefix(logs[i], groupPrefix)
	}
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", ofStore(err))
	}
	return logs, nil
}

// FindGroup returns the consumer group of that name, or ErrNoGroup. Unlike Group, it
// brings none into being: a wrong name is no group that is up to date.
func (s *System) FindGroup(ctx context.Context, name string) (*Group, error) {
	all, err := s.Groups(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(all, name) {
		return nil, fmt.Errorf("group %s: %w", name, ErrNoGroup)
	}
	return s.Group(name, group.Config{})
}

// DeleteGroup forgets a consumer group with its offsets and parked keys. It must
// have no members.
func (s *System) DeleteGroup(ctx context.Context, name string) error {
	g, err := s.FindGroup(ctx, name)
	if err != nil {
		return fmt.Errorf("delete %w", err)
	}
	d, err := g.Describe(ctx)
	if err != nil {
		return err
	}
	if len(d.Members) > 0 {
		return fmt.Errorf("delete group %s: %w", name, active(d, "stop them first"))
	}
	s.Stop(g.pid)
	select {
	case <-s.Watch(g.pid):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.store.DeleteLog(ctx, groupLog(name)); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("delete group %s: %w", name, err)
	}
	return s.deleteTopicsOf(ctx, name)
}

// deleteTopicsOf deletes what a group has put into topics of its own.
func (s *System) deleteTopicsOf(ctx context.Context, group string) error {
	all, err := s.Topics(ctx)
	for _, t := range all {
		if _, later := delayOf(group, t.Name); later || t.Name == parkedTopic(group) {
			err = errors.Join(err, s.DeleteTopic(ctx, t.Name))
		}
	}
	return err
}

func active(d group.Description, remedy string) error {
	e := &GroupActiveError{Remedy: remedy}
	for _, m := range d.Members {
		e.Members = append(e.Members, m.ID)
	}
	return e
}

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// tell applies a command and waits until it is durable.
func (g *Group) tell(ctx context.Context, c group.Command) error {
	_, err := Ask[groupDone](ctx, g.sys, g.pid, groupCommand{command: c})
	return err
}

// Describe returns what the group is doing. What it knew of topics that were deleted
// and made anew since is dropped before.
func (g *Group) Describe(ctx context.Context) (group.Description, error) {
	d, err := g.look(ctx)
	if err != nil {
		return d, err
	}
	anew, err := g.sys.topics.madeAnew(ctx, d.Topics)
	if err != nil || len(anew) == 0 {
		return d, err
	}
	if err := g.tell(ctx, group.Resize{Topics: anew}); err != nil {
		return d, err
	}
	return g.look(ctx)
}

func (g *Group) look(ctx context.Context) (group.Description, error) {
	return Ask[group.Description](ctx, g.sys, g.pid, askGroup{func(c *group.Group) any { return c.Describe() }})
}
