package main

import (
	"bytes"
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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaPeer is a broker in a process of its own, on the loopback interface: the way
// its users run it.
type kafkaPeer struct {
	broker *exec.Cmd
	admin  *kadm.Client
	addr   string
}

const properties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
`

func openKafka(ctx context.Context, dir, libs string) (peer, error) {
	jars, err := filepath.Glob(filepath.Join(libs, "kafka_*.jar"))
	if err != nil || len(jars) == 0 {
		return nil, fmt.Errorf("there is no broker in %s: run mvn dependency:copy-dependencies -DoutputDirectory=%s", libs, libs)
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "server.properties")
	text := fmt.Sprintf(properties, ports[0], ports[1], filepath.Join(dir, "kafka"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	class := filepath.Join(libs, "*")
	format := exec.CommandContext(ctx, "java", "-cp", class, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAAAQ", "-c", config)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format: %w: %s", err, bytes.TrimSpace(out))
	}
	log, err := os.Create(filepath.Join(dir, "broker.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	k := &kafkaPeer{addr: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	k.broker = exec.Command("java", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-cp", class, "kafka.Kafka", config)
	k.broker.Stdout, k.broker.Stderr = log, log
	if err := k.broker.Start(); err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addr))
	if err != nil {
		k.close()
		return nil, err
	}
	k.admin = kadm.NewClient(client)
	if err := k.await(ctx); err != nil {
		out, _ := os.ReadFile(log.Name())
		k.close()
		return nil, fmt.Errorf("the broker does not answer: %w: %s", err, out[max(0, len(out)-500):])
	}
	return k, nil
}

// freePorts returns ports that are free at this moment.
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

func (k *kafkaPeer) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := k.admin.ListBrokers(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (k *kafkaPeer) name() string { return "kafka" }

func (k *kafkaPeer) create(ctx context.Context, topic string, partitions int, d durability) error {
	settings := map[string]*string{}
	if d == flushed {
		each := "1"
		settings["flush.messages"] = &each
	}
	r, err := k.admin.CreateTopic(ctx, int32(partitions), 1, settings, topic)
	if err := errors.Join(err, r.Err); err != nil {
		return err
	}
	return k.awaitPartitions(ctx, topic, partitions)
}

// awaitPartitions waits until each partition has a leader that answers. A client that
// comes earlier would wait for seconds before it asks again who that is.
func (k *kafkaPeer) awaitPartitions(ctx context.Context, topic string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		ends, err := k.admin.ListEndOffsets(ctx, topic)
		if err == nil && ends.Error() == nil && len(ends[topic]) == partitions {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the partitions of %s: %w", topic, errors.Join(ctx.Err(), err, ends.Error()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (k *kafkaPeer) remove(ctx context.Context, topic string) error {
	_, err := k.admin.DeleteTopic(ctx, topic)
	return err
}

func (k *kafkaPeer) producer(_ context.Context, topic string, quick bool) (producer, error) {
	linger := 5 * time.Millisecond
	if quick {
		linger = 0
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1<<20-1024), kgo.ProducerLinger(linger),
		kgo.MaxBufferedRecords(200_000), kgo.MetadataMinAge(100*time.Millisecond))
	return kafkaProducer{c}, err
}

type kafkaProducer struct{ *kgo.Client }

func (p kafkaProducer) publish(ctx context.Context, key, value []byte, done func(error)) error {
	p.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) { done(err) })
	return nil
}

func (p kafkaProducer) flush(ctx context.Context) error { return p.Flush(ctx) }
func (p kafkaProducer) close()                          { p.Close() }

func (k *kafkaPeer) consume(ctx context.Context, topic string, _ int, each func([]byte) bool) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	for more := true; more; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) { more = more && each(r.Value) })
	}
	return nil
}

// processor reads the broker's time from /proc, in hundredths of a second.
func (k *kafkaPeer) processor() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", k.broker.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (k *kafkaPeer) close() {
	if k.admin != nil {
		k.admin.Close()
	}
	_ = k.broker.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() { _ = k.broker.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = k.broker.Process.Kill()
		<-ended
	}
}
