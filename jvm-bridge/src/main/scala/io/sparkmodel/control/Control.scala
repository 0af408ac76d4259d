// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.nio.file.{Files, Path}

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.wire.ModelException
import org.apache.spark.SparkContext
import org.apache.spark.scheduler.{SparkListener, SparkListenerApplicationEnd}
import org.slf4j.LoggerFactory

/**
 * The Python that owns the pools: the driver's own where there is one, else a process that is started when it is first
 * needed, started again if it dies, and ended with the Spark application.
 */
object Control {
  val Python = "spark.sparkmodel.python"
  val RayAddress = "spark.sparkmodel.ray.address"
  val Namespace = "spark.sparkmodel.ray.namespace"
  val Spares = "spark.sparkmodel.spares"
  private val Announced = "SPARKMODEL_CONTROL" // sparkmodel/configure.py sets it: pid:port:file of token
  private val Gateway = "_PYSPARK_DRIVER_CONN_INFO_PATH" // where a JVM that PySpark starts tells it its port
  private val log = LoggerFactory.getLogger("io.sparkmodel.control")

  @volatile private var attached: Option[ControlClient] = announced
  @volatile private var process: Option[ControlProcess] = None
  private val starting = new Object // held for as long as a process takes to start; nobody who only looks waits for it
  private val restoring = new Object
  @volatile private var unrestored: Option[ControlClient] = None

  /** Take the Python of this driver. */
  def attach(port: Int, token: String): Unit = attached = Some(new ControlClient(port, token))

  /** The driver's Python is about to end. */
  def detach(): Unit = attached = None

  /** Whether there is somebody to ask without starting a process. */
  def isRunning: Boolean = attached.isDefined || process.exists(_.isAlive)

  /** Process id of the control process, 0 if there is none. */
  def pid: Long = process.filter(_.isAlive).fold(0L)(_.pid)

  /** Ask the control service; once more of a new one, if it died. */
  def call(command: String, body: ObjectNode): JsonNode = Interrupts.during(answer(command, body))

  private def answer(command: String, body: ObjectNode): JsonNode = {
    val client = current()
    try ready(client).call(command, body)
    catch {
      case lost: ControlLostException =>
        log.warn(s"the control service does not answer: ${lost.getCause}")
        process.filter(_.client eq client).foreach(_.awaitEnd()) // it may not be over yet
        val successor = current()
        if (successor eq client) throw unreachable(lost)
        try ready(successor).call(command, body)
        catch { case lost: ControlLostException => throw unreachable(lost) }
    }
  }

  private def unreachable(lost: ControlLostException) = new ModelException(
    "CONTROL_UNAVAILABLE", "Cannot reach the control service", s"${lost.getCause}", "look into the driver's log")

  /** Whoever asks a service that has taken over waits until the models of the one before are made again. */
  private def ready(client: ControlClient): ControlClient = restoring.synchronized {
    if (unrestored.exists(_ eq client)) {
      unrestored = None // also for what making the models asks, from this thread
      Makers.restore(client)
    }
    client
  }

  private def current(): ControlClient = alive.getOrElse(starting.synchronized {
    alive.getOrElse {
      val isFirst = process.isEmpty
      val started = start()
      if (!isFirst) unrestored = Some(started.client) // before anybody can ask it
      process = Some(started)
      if (isFirst) SparkContext.getOrCreate().addSparkListener(AtTheEnd)
      started.client
    }
  })

  private def alive: Option[ControlClient] = attached.orElse(process.filter(_.isAlive).map(_.client))

  /** Whether pools may be there that others have made. */
  def hasCluster: Boolean = cluster.isDefined

  private def conf = SparkContext.getOrCreate().getConf

  private def cluster: Option[String] = conf.getOption(RayAddress).orElse(sys.env.get("RAY_ADDRESS"))

  private def start(): ControlProcess = {
    val settings = Seq(Python, "spark.pyspark.driver.python", "spark.pyspark.python")
    val variables = Seq("PYSPARK_DRIVER_PYTHON", "PYSPARK_PYTHON")
    val python = settings.flatMap(conf.getOption(_)).headOption
      .orElse(variables.flatMap(sys.env.get).headOption)
      .getOrElse("python3")
    ControlProcess.start(
      python,
      cluster,
      conf.get(Namespace, "sparkmodel"),
      conf.getOption(Spares).map(spares))
  }

  private def spares(text: String): Int = text.trim.toIntOption.filter(_ >= 0).getOrElse(throw new ModelException(
    "INVALID_OPTION", s"Cannot use setting '$Spares'", s"'$text' is not a whole number of at least 0", ""))

  /**
   * What the Python that started this JVM has announced. A variable that was inherited from elsewhere does not count, nor
   * does it in a shell that a Python driver starts beside its own JVM, which alone has PySpark's variable.
   */
  private def announced: Option[ControlClient] =
    if (!sys.env.contains(Gateway)) None
    else sys.env.get(Announced).map(_.split(':')).collect {
      case Array(pid, port, file) if isParent(pid) => new ControlClient(port.toInt, Files.readString(Path.of(file)))
    }

  private def isParent(pid: String): Boolean = {
    val parent = ProcessHandle.current.parent
    parent.isPresent && parent.get.pid.toString == pid
  }

  private object AtTheEnd extends SparkListener {
    override def onApplicationEnd(end: SparkListenerApplicationEnd): Unit = starting.synchronized {
      process.foreach(_.stop())
      process = None
      Makers.clear()
    }
  }
}
