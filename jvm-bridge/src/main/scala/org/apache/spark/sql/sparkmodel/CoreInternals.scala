// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import java.util.{ArrayList => JArrayList, HashMap => JHashMap}

import org.apache.spark.TaskContext
import org.apache.spark.api.python.{PythonEvalType, SimplePythonFunction}
import org.apache.spark.memory.TaskMemoryManager

/** What the bridge needs of spark-core that is private to Spark's packages: tasks, and functions of Python. */
object CoreInternals {

  /** The kind of Python function that a model is registered as. */
  val ModelEvalType: Int = PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF

  /** A Python function as a session with Python would have it, of a command that only the bridge reads. */
  def pythonFunction(command: Array[Byte]): AnyRef =
    pythonFunction(command, "python3", "")

  /** A Python function of a command that a Python of that version has pickled. */
  def pythonFunction(command: Array[Byte], python: String, version: String): AnyRef =
    SimplePythonFunction(command.toSeq, new JHashMap, new JArrayList, python, version, new JArrayList, null)

  def memoryOf(context: TaskContext): TaskMemoryManager = context.taskMemoryManager()

  /** Ends a task that was killed, which nobody interrupts by default. */
  def endIfKilled(context: TaskContext): Unit = context.killTaskIfInterrupted()
}
