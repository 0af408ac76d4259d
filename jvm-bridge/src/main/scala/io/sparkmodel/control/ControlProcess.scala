// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.io.{BufferedReader, InputStreamReader}
import java.nio.charset.StandardCharsets.UTF_8
import java.security.SecureRandom
import java.util.concurrent.{CompletableFuture, ConcurrentLinkedDeque, TimeUnit}

import scala.jdk.CollectionConverters._
import scala.util.Try

import io.sparkmodel.wire.ModelException
import org.slf4j.LoggerFactory

/**
 * A Python process that owns pools for a driver without Python. It ends when its standard input does, so at the latest
 * with this JVM.
 */
class ControlProcess private (process: Process, val client: ControlClient) {
  def isAlive: Boolean = process.isAlive

  def pid: Long = process.pid

  /** Wait a moment for its end: it is killed before the JVM hears of it. */
  def awaitEnd(): Unit = process.waitFor(2, TimeUnit.SECONDS)

  /** End it, and with it the pools of a Ray that it started. */
  def stop(): Unit = {
    Try(process.getOutputStream.close())
    if (!process.waitFor(20, TimeUnit.SECONDS)) process.destroyForcibly()
  }
}

object ControlProcess {
  private val log = LoggerFactory.getLogger("io.sparkmodel.control")
  private val StartS = 60L
  private val LastLines = 20
  private val Prefix = "smsecret_" // as sparkmodel/secret.py has it

  /** Start one and wait until it listens. */
  def start(
      python: String,
      rayAddress: Option[String],
      namespace: String,
      spares: Option[Int]): ControlProcess = {
    val process =
      try new ProcessBuilder(python, "-m", "sparkmodel.control").start()
      catch { case error: java.io.IOException => throw unavailable(python, error.getMessage) }
    val said = new ConcurrentLinkedDeque[String]
    follow(process, said)
    val token = newToken()
    try {
      val first = ControlClient.body.put("token", token).put("namespace", namespace)
      rayAddress.fold(first.putNull("ray_address"))(first.put("ray_address", _))
      spares.foreach(first.put("spares", _))
      process.getOutputStream.write((first.toString + "\n").getBytes(UTF_8))
      process.getOutputStream.flush()
      val reader = new BufferedReader(new InputStreamReader(process.getInputStream, UTF_8))
      val line = CompletableFuture.supplyAsync(() => reader.readLine()).get(StartS, TimeUnit.SECONDS)
      new ControlProcess(process, new ControlClient(ControlClient.json.readTree(line).required("port").asInt, token))
    } catch {
      case error: Exception =>
        process.destroyForcibly()
        process.waitFor(5, TimeUnit.SECONDS)
        Thread.sleep(100) // for the last of what it said
        val last = said.asScala.toSeq
        throw unavailable(python, last.lastOption.getOrElse(error.toString), last.mkString("\n"))
    }
  }

  private def follow(process: Process, said: ConcurrentLinkedDeque[String]): Unit = {
    val thread = new Thread(
      () => {
        val reader = new BufferedReader(new InputStreamReader(process.getErrorStream, UTF_8))
        Iterator.continually(Try(reader.readLine()).getOrElse(null)).takeWhile(_ != null).foreach { line =>
          log.info(line)
          said.add(line)
          if (said.size > LastLines) said.poll()
        }
      },
      "sparkmodel-control-log")
    thread.setDaemon(true)
    thread.start()
  }

  private def newToken(): String = {
    val bytes = new Array[Byte](32)
    new SecureRandom().nextBytes(bytes)
    Prefix + bytes.map("%02x".format(_)).mkString
  }

  private def unavailable(python: String, fact: String, details: String = "") = new ModelException(
    "CONTROL_UNAVAILABLE",
    s"Cannot start the control process with '$python'",
    fact,
    s"name a Python that has sparkmodel in ${Control.Python}",
    details)
}
