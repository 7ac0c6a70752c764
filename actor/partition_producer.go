package actor

// askProducer asks a partition where an idempotent producer stands.
type askProducer struct{ id string }

// producerStand answers it.
type producerStand struct {
	known bool   // the partition remembers it
	epoch uint64 // the highest that appended
	next  uint64 // sequence of the record that must come next
}

func (s *logState) stand(id string) producerStand {
	p := s.producers[id]
	if p == nil {
		return producerStand{}
	}
	return producerStand{known: true, epoch: p.epoch, next: p.nextSeq}
}
