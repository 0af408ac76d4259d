// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.lang.reflect.{InvocationHandler, Method, Proxy}

import scala.util.Try

import io.sparkmodel.wire.ModelException

/** Ctrl-C of `spark-sql`, which cancels Spark's jobs, and so would not reach a statement that waits for a model. */
object Interrupts {

  /** What the shell asks to be interrupted; by reflection, since Spark can do without Hive's libraries. */
  private lazy val hive: Option[Hive] = Try(new Hive).toOption

  /**
   * Wait for something that the shell's first Ctrl-C ends.
   *
   * @throws ModelException it was ended so; an interruption of any other origin is thrown as it is
   */
  def during[A](work: => A): A = hive.fold(work) { shell =>
    val waiting = new Waiting(shell, Thread.currentThread)
    try work
    catch { case _: InterruptedException if waiting.end() => throw cancelled }
    finally if (waiting.end()) Thread.interrupted() // it may have come too late, and is nobody else's
  }

  private def cancelled = new ModelException(
    "OPERATION_CANCELED", "Cannot finish this statement", "it was interrupted", "run it again")

  private class Hive {
    private val common = "org.apache.hadoop.hive.common"
    private val utils = Class.forName(s"$common.HiveInterruptUtils")
    private val callback = Class.forName(s"$common.HiveInterruptCallback")
    private val put = utils.getMethod("add", callback)
    private val take = utils.getMethod("remove", callback)

    def add(handler: InvocationHandler): AnyRef = {
      val proxy = Proxy.newProxyInstance(callback.getClassLoader, Array(callback), handler)
      put.invoke(null, proxy)
      proxy
    }

    def remove(proxy: AnyRef): Unit = take.invoke(null, proxy)
  }

  private class Waiting(shell: Hive, thread: Thread) extends InvocationHandler {
    private var isOver = false
    private var wasInterrupted = false
    private val proxy = shell.add(this)

    override def invoke(self: Any, method: Method, arguments: Array[AnyRef]): AnyRef = method.getName match {
      case "equals" => Boolean.box(self.asInstanceOf[AnyRef] eq arguments(0))
      case "hashCode" => Int.box(System.identityHashCode(this))
      case "toString" => toString
      case _ => interrupt(); null
    }

    private def interrupt(): Unit = synchronized(if (!isOver) {
      wasInterrupted = true
      thread.interrupt()
    })

    /** Whether it was interrupted, which it cannot be from now on. */
    def end(): Boolean = {
      shell.remove(proxy)
      synchronized { isOver = true; wasInterrupted }
    }
  }
}
