package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jetStreamPeer is NATS JetStream as such, in this process: a message for each
// record. Partitions are subjects of one stream there, so it has a single one.
type jetStreamPeer struct {
	dir     string
	servers map[bool]*jetStreamServer // by whether every write is synced
	at      *jetStreamServer
}

type jetStreamServer struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

func openJetStream(dir string) (peer, error) {
	return &jetStreamPeer{dir: filepath.Join(dir, "jetstream"), servers: map[bool]*jetStreamServer{}}, nil
}

// use starts a server: sync_always holds for all of its streams.
func (j *jetStreamPeer) use(always bool) error {
	if j.at = j.servers[always]; j.at != nil {
		return nil
	}
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, NoSigs: true, NoLog: true,
		StoreDir: filepath.Join(j.dir, fmt.Sprint(always)), SyncAlways: always, JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: 64 << 30})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the server does not start")
	}
	at := &jetStreamServer{server: s}
	j.servers[always] = at
	if at.conn, err = nats.Connect("", nats.InProcessServer(s)); err != nil {
		return err
	}
	at.js, err = jetstream.New(at.conn, jetstream.WithPublishAsyncMaxPending(4096))
	j.at = at
	return err
}

func (j *jetStreamPeer) name() string { return "jetstream" }

func (j *jetStreamPeer) create(ctx context.Context, topic string, _ int, d durability) error {
	if err := j.use(d == flushed); err != nil {
		return err
	}
	_, err := j.at.js.CreateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}})
	return err
}

func (j *jetStreamPeer) remove(ctx context.Context, topic string) error {
	return j.at.js.DeleteStream(ctx, topic)
}

func (j *jetStreamPeer) producer(_ context.Context, topic string, _ bool) (producer, error) {
	p := &jetStreamProducer{js: j.at.js, topic: topic, acks: make(chan pending, 8192), ended: make(chan struct{})}
	go p.collect()
	return p, nil
}

// jetStreamProducer publishes asynchronously. Acknowledgements are looked at in order:
// those of a stream come in order.
type jetStreamProducer struct {
	js    jetstream.JetStream
	topic string
	acks  chan pending
	ended chan struct{}
}

type pending struct {
	ack  jetstream.PubAckFuture
	done func(error)
}

func (p *jetStreamProducer) publish(_ context.Context, _, value []byte, done func(error)) error {
	ack, err := p.js.PublishAsync(p.topic, value, jetstream.WithStallWait(most))
	if err == nil {
		p.acks <- pending{ack, done}
	}
	return err
}

func (p *jetStreamProducer) collect() {
	defer close(p.ended)
	for a := range p.acks {
		select {
		case <-a.ack.Ok():
			a.done(nil)
		case err := <-a.ack.Err():
			a.done(err)
		}
	}
}

func (p *jetStreamProducer) flush(ctx context.Context) error {
	select {
	case <-p.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *jetStreamProducer) close() {
	close(p.acks)
	<-p.ended
}

func (j *jetStreamPeer) consume(ctx context.Context, topic string, _ int, each func([]byte) bool) error {
	c, err := j.at.js.OrderedConsumer(ctx, topic, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(2000))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		if !each(m.Data()) {
			return nil
		}
	}
}

func (j *jetStreamPeer) processor() time.Duration { return 0 }

func (j *jetStreamPeer) close() {
	for _, s := range j.servers {
		if s.conn != nil {
			s.conn.Close()
		}
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
}
