// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.nio.channels.SocketChannel
import java.util.Base64
import java.util.concurrent.{ConcurrentHashMap, Executors, TimeUnit}
import java.util.concurrent.atomic.{AtomicBoolean, AtomicInteger}

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import com.sun.management.UnixOperatingSystemMXBean

/** The client of pools, called from Python's tests. */
object ClientMain {
  private val ids = new AtomicInteger()
  private val clients = new ConcurrentHashMap[Int, PoolClient]()
  private val limits = new ConcurrentHashMap[Int, Limits]()
  private val tickets = new ConcurrentHashMap[Int, (PoolClient, Ticket)]()
  private val callers = new ConcurrentHashMap[Int, Caller]()
  private val tripped = new ConcurrentHashMap[String, AtomicBoolean]()
  private val calls = new Calls(answer)

  def main(arguments: Array[String]): Unit = calls.run()

  /** What a watch throws. */
  final class Tripped extends RuntimeException("the watch was tripped")

  private def answer(operation: String, a: JsonNode): Any = operation match {
    case "client" =>
      val handle = Handle.find(a.required("handle").binaryValue).get
      called(handle, new PoolClient(
        handle.pool,
        handle.credential,
        Times(
          a.path("silence_s").asDouble(5),
          a.path("gone_s").asDouble(10),
          a.path("doubt_s").asDouble(3),
          a.path("stalled_s").asDouble(8))))
    case "of" =>
      val handle = Handle.find(a.required("handle").binaryValue).get
      val client = PoolClient.of(handle)
      clients.asScala.collectFirst { case (id, `client`) => id }.getOrElse(called(handle, client))
    case "pin" =>
      val (query, digest) = (a.required("query").asText, a.path("digest").asText(""))
      client(a).pin(query, digest, limits(a), watch(a), Option(a.get("timeout_s")).map(_.asDouble))
    case "in_force" =>
      val found = client(a).inForce(limits(a))
      Seq(found.maxInFlight, found.maxRetries, found.timeoutS, found.readyTimeoutS).asJava
    case "caller" => add(callers, new Caller(Option(a.get("partition")).map(_.asInt)))
    case "fuzz" => FuzzCalls.score(a, client => submit(client, a))
    case "memory" => FuzzCalls.memory()
    case "submit" => add(tickets, (client(a), submit(a)))
    case "collect" => collect(a)
    case "is_ready" => ticket(a) match { case (client, ticket) => client.isReady(ticket) }
    case "release" => ticket(a) match { case (client, ticket) => client.release(ticket) }
    case "load" => load(a)
    case "open_connections" => client(a).openConnections
    case "close" => client(a).close()
    case "trip" => flag(a.required("watch").asText).set(true)
    case "interrupt" => calls.interrupt(a.required("call").asLong)
    case "sweep" => Clients.sweep(System.nanoTime + (a.required("ahead_s").asDouble * 1e9).toLong)
    case "threads" => Thread.getAllStackTraces.keySet.asScala.map(_.getName).toSeq.sorted.asJava
    case "descriptors" =>
      ManagementFactory.getPlatformMXBean(classOf[UnixOperatingSystemMXBean]).getOpenFileDescriptorCount
    case "picks" => picks(a).asJava
    case "chosen" => chosen(a)
    case "options" => options(Endpoint(a.required("host").asText, a.required("port").asInt)).asJava
    case "learned" =>
      val route = new Route(Endpoint("far", 1), isLocal = false)
      a.required("seconds").elements.asScala.foreach(seconds => route.learn(0, Some(seconds.asDouble), 0))
      route.known(0).get
    case "is_here" => Router.isHere(a.required("host").asText)
    case _ => VectorCalls.answer(operation, a)
  }

  private def add[T](known: ConcurrentHashMap[Int, T], value: T): Int = {
    val id = ids.incrementAndGet()
    known.put(id, value)
    id
  }

  private def called(handle: Handle, client: PoolClient): Int = {
    val id = add(clients, client)
    limits.put(id, handle.call.limits)
    id
  }

  /** Those of the handle that a call is made through, else of the one that its client was made of. */
  private def limits(a: JsonNode): Limits =
    Option(a.get("handle")).map(text => Handle.find(text.binaryValue).get.call.limits)
      .getOrElse(limits.get(a.required("client").asInt))

  private def client(a: JsonNode): PoolClient = clients.get(a.required("client").asInt)

  private def ticket(a: JsonNode): (PoolClient, Ticket) = tickets.get(a.required("ticket").asInt)

  private def flag(name: String): AtomicBoolean = tripped.computeIfAbsent(name, _ => new AtomicBoolean())

  private def watch(a: JsonNode): Watch = {
    val flag = this.flag(a.path("watch").asText(""))
    () => if (flag.get) throw new Tripped
  }

  def stream(a: JsonNode): StreamKey = {
    val call = CallOptions(
      a.path("params").asText(""),
      Option(a.get("on_error")).map(_.asText),
      Option(a.get("time_zone")).map(_.asText),
      caseSensitive = a.path("case_sensitive").asBoolean,
      query = a.path("query").asText(""),
      source = a.path("source").asText(""))
    StreamKey(
      a.required("schema").asText,
      a.path("by_name").asBoolean,
      call,
      a.path("digest").asText(""),
      Option(a.get("pin")).filterNot(_.isNull).map(_.asInt))
  }

  /** The message in two direct buffers, the first of which does not begin at its own start. */
  private def message(a: JsonNode): Seq[ByteBuffer] = {
    val bytes = a.required("message").binaryValue
    val half = bytes.length / 2
    val first = ByteBuffer.allocateDirect(half + 8).position(8).put(bytes, 0, half).position(8)
    val second = ByteBuffer.allocateDirect(bytes.length - half).put(bytes, half, bytes.length - half).flip()
    Seq(first, second)
  }

  private def submit(a: JsonNode): Ticket = submit(client(a), a)

  private def submit(client: PoolClient, a: JsonNode): Ticket =
    client.submit(
      stream(a),
      limits(a),
      message(a),
      a.required("rows").asInt,
      watch(a),
      Option(a.get("timeout_s")).map(_.asDouble),
      Option(a.get("caller")).map(number => callers.get(number.asInt)).getOrElse(new Caller()))

  private def collect(a: JsonNode): Any = {
    val (client, ticket) = this.ticket(a)
    val allocate: Int => ByteBuffer =
      if (a.has("fail")) _ => throw new OutOfMemoryError("the test's allocator")
      else ByteBuffer.allocateDirect(_)
    val answer = client.collect(ticket, watch(a), allocate)
    Map[String, Any](
      "payload" -> encode(answer.payload),
      "schema" -> answer.schema,
      "version" -> answer.version,
      "rows" -> ticket.rows,
      "retries" -> ticket.retries,
      "sent_bytes" -> ticket.sentBytes,
      "wait_ns" -> ticket.waitNs,
      "queue_us" -> ticket.queueUs,
      "predict_us" -> ticket.predictUs).asJava
  }

  private def encode(buffer: ByteBuffer): String = {
    val bytes = new Array[Byte](buffer.remaining)
    buffer.duplicate().get(bytes)
    Base64.getEncoder.encodeToString(bytes)
  }

  /** The ports that a router picks from, in 200 choices among workers as they are described. */
  private def picks(a: JsonNode): Set[Int] = {
    var now = 0L
    val router = new Router(() => now, _ == "near")
    val workers = a.required("workers").elements.asScala.toSeq
    def endpoint(worker: JsonNode) = Endpoint(worker.path("host").asText("far"), worker.required("port").asInt)
    val versions = workers.groupBy(_.path("version").asInt(1)).map { case (version, some) =>
      Served(version, some.map(endpoint), 1, Nil)
    }
    router.update(Directory(Revision(1, 1), "ready", 1, versions.toSeq))
    workers.foreach { worker =>
      val route = router.routes(endpoint(worker))
      route.inFlight = worker.path("in_flight").asInt
      route.learn(
        worker.path("load").asLong,
        Option(worker.get("seconds")).map(_.asDouble),
        -(worker.path("learned_s").asDouble * 1e9).toLong)
      if (worker.has("told_s")) {
        route.hear(0, Some(Told(worker.required("told_s").asDouble, worker.path("told_age_s").asDouble)), 0)
      }
      if (worker.has("then_s")) route.learn(0, Some(worker.required("then_s").asDouble), 0)
      if (worker.has("failed_s")) {
        now = -(worker.required("failed_s").asDouble * 1e9).toLong
        router.avoid(route)
      }
    }
    now = 0
    val except = a.path("except").elements.asScala.map(_.asInt).toSet
    val ports = a.path("asked").elements.asScala.map(_.asInt).toSet
    val asked = router.routes.keySet.filter(endpoint => ports(endpoint.port))
    val version = a.path("of").asInt(1)
    val isSuspect = a.path("suspects").asBoolean
    def pick(except: Endpoint => Boolean) =
      if (isSuspect) router.pickForSuspects(version, except) else router.pick(version, except, asked)
    (1 to 200).flatMap(_ => pick(e => except(e.port)).map(_.endpoint.port)).toSet
  }

  /** The options of the socket of a connection. */
  private def options(endpoint: Endpoint): Map[String, Any] = {
    val transport = PlainTransport.connect(endpoint, Connection.patience(() => ()))
    val field = classOf[PlainTransport].getDeclaredField("channel")
    field.setAccessible(true)
    val channel = field.get(transport).asInstanceOf[SocketChannel]
    try channel.supportedOptions.asScala.map(option => option.name -> channel.getOption(option)).toMap
    finally transport.close()
  }

  /** How often a router chooses each version of a directory for plans of a digest, in 1,000 choices. */
  private def chosen(a: JsonNode): java.util.Map[Int, Int] = {
    val router = new Router()
    router.update(Directory(a.required("directory")))
    val except = a.path("except").elements.asScala.map(_.asInt).toSet
    val digest = a.required("digest").asText
    val chosen = (1 to 1000).flatMap(_ => router.choose(digest, e => except(e.port)))
    chosen.groupMapReduce(identity)(_ => 1)(_ + _).asJava
  }

  /** Many batches, one after the other in each of many threads; the answers' distinct payloads. */
  private def load(a: JsonNode): Any = {
    val client = this.client(a)
    val threads = Executors.newFixedThreadPool(a.required("threads").asInt)
    val (stream, bytes, rows) = (this.stream(a), message(a), a.required("rows").asInt)
    val each = a.required("each").asInt
    try {
      val results = (1 to a.required("threads").asInt).map { _ =>
        threads.submit { () =>
          (1 to each).map { _ =>
            val ticket = client.submit(stream, limits(a), bytes, rows, watch(a))
            encode(client.collect(ticket, watch(a), ByteBuffer.allocateDirect(_)).payload)
          }.toSet
        }
      }
      results.flatMap(_.get(60, TimeUnit.SECONDS)).distinct.asJava
    } finally threads.shutdownNow()
  }
}
