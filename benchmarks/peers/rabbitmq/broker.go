package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// broker is a RabbitMQ server in a process of its own, on the loopback interface, with
// its own data, ports and port mapper: it meets no other that runs on this machine.
type broker struct {
	url     string
	dir     string
	pid     int // of the Erlang machine; the script that started it is its parent
	mapper  *exec.Cmd
	script  *exec.Cmd
	started time.Duration // until it took a connection
}

const (
	brokerWait   = 2 * time.Minute
	serverScript = "usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"
)

// erl stands before Debian's own, whose root cannot be set.
const erl = `#!/bin/sh
ROOTDIR='%[1]s/usr/lib/erlang' BINDIR='%[2]s' EMU=beam PROGNAME=erl
export ROOTDIR BINDIR EMU PROGNAME
exec "$BINDIR/erlexec" "$@"
`

func startBroker(ctx context.Context, at place) (*broker, error) {
	scripts, err := installed(at.root, serverScript)
	if err != nil {
		return nil, err
	}
	machine, err := installed(at.root, "usr/lib/erlang/erts-*/bin")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	b := &broker{url: fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", ports[0]), dir: filepath.Join(at.dir, "rabbitmq")}
	if err := b.configure(at.root, machine, ports[0]); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.start(ctx, scripts, machine, ports); err != nil {
		log := b.lastOfLog()
		b.stop()
		return nil, fmt.Errorf("start the broker: %w: %s", err, log)
	}
	b.started = time.Since(began)
	return b, nil
}

// installed returns the newest path below root that matches.
func installed(root, pattern string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("there is no %s below %s: apt-get install rabbitmq-server, or see README.md for how to unpack it elsewhere (-root)", pattern, root)
	}
	return found[len(found)-1], nil
}

func (b *broker) configure(root, machine string, port int) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"bin/erl":       fmt.Sprintf(erl, strings.TrimSuffix(root, "/"), machine),
		"rabbitmq.conf": fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\n", port),
		"plugins":       "[].\n",
	} {
		name = filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (b *broker) start(ctx context.Context, script, machine string, ports []int) error {
	log, err := os.Create(b.file("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	environment := append(os.Environ(),
		"HOME="+b.dir, "PATH="+b.file("bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		fmt.Sprintf("ERL_EPMD_PORT=%d", ports[1]), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=troupe@localhost", fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[2]),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE="+b.file("rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+b.file("plugins"), "RABBITMQ_PID_FILE="+b.file("pid"),
		"RABBITMQ_MNESIA_BASE="+b.file("data"), "RABBITMQ_LOG_BASE="+b.file("logs"), "RABBITMQ_LOGS=-")
	// The first would otherwise be left behind by the second.
	b.mapper, b.script = exec.Command(filepath.Join(machine, "epmd")), exec.Command(script)
	for _, c := range []*exec.Cmd{b.mapper, b.script} {
		c.Env, c.Stdout, c.Stderr, c.Dir = environment, log, log, b.dir
		// An interrupt from the terminal is for the program that measures: it stops them.
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := c.Start(); err != nil {
			return err
		}
	}
	return b.await(ctx)
}

func (b *broker) file(name string) string { return filepath.Join(b.dir, name) }

func (b *broker) lastOfLog() string {
	text, _ := os.ReadFile(b.file("log"))
	return string(text[max(0, len(text)-1000):])
}

// await returns when the broker takes a connection.
func (b *broker) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, brokerWait)
	defer cancel()
	for {
		err := b.look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *broker) look() error {
	c, err := amqp.Dial(b.url)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(b.file("pid"))
	if err == nil {
		b.pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	return errors.Join(err, c.Close())
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (b *broker) stop() {
	end(b.script, 30*time.Second)
	end(b.mapper, 5*time.Second)
}

// end asks a process and its children to end, and kills them if they take too long.
func end(c *exec.Cmd, patience time.Duration) {
	if c == nil || c.Process == nil {
		return
	}
	_ = c.Process.Signal(syscall.SIGTERM) // the broker's script hands it on
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
	}
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // whoever is left of the group
	<-ended
}
