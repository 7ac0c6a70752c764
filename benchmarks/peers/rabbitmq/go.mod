module github.com/troupestream/troupe/benchmarks/peers/rabbitmq

go 1.26.0

require (
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/troupestream/troupe v0.0.0
)

replace github.com/troupestream/troupe => ../../..
