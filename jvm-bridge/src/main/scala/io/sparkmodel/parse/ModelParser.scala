// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

import java.lang.reflect.{InvocationHandler, InvocationTargetException, Method, Proxy}

import org.apache.spark.sql.catalyst.parser.{ParameterContext, ParseException, ParserInterface}
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.internal.VariableSubstitution

/** Spark's parser, or that of another extension, with the statements about models before it. */
object ModelParser {

  /**
   * A proxy, since what a parser has to have differs from one Spark to the next.
   *
   * @param delegate takes what is not ours, and is asked for all else
   * @param command  the plan of a statement
   */
  def apply(delegate: ParserInterface, command: Statement => LogicalPlan): ParserInterface =
    Proxy.newProxyInstance(
      classOf[ParserInterface].getClassLoader,
      Array(classOf[ParserInterface]),
      new ModelParser(delegate, command)).asInstanceOf[ParserInterface]
}

private final class ModelParser(delegate: ParserInterface, command: Statement => LogicalPlan)
  extends InvocationHandler {

  override def invoke(proxy: AnyRef, method: Method, arguments: Array[AnyRef]): AnyRef =
    (method.getName, arguments) match {
      case ("parsePlan", Array(sql: String)) => plan(sql, None).getOrElse(rewritten(sql, method, arguments))
      case ("parsePlanWithParameters", Array(sql: String, parameters: ParameterContext)) =>
        plan(sql, Some(parameters)).getOrElse(rewritten(sql, method, arguments))
      case ("parseQuery" | "parseExpression", Array(sql: String)) => rewritten(sql, method, arguments)
      case ("equals", Array(other)) => Boolean.box(other eq proxy)
      case _ => delegated(method, arguments)
    }

  private def plan(sql: String, parameters: Option[ParameterContext]): Option[LogicalPlan] =
    StatementParser.parse(substituted(sql), parameters).map(command)

  private def rewritten(sql: String, method: Method, arguments: Array[AnyRef]): AnyRef = {
    val text = substituted(sql)
    val changed = ModelArguments.rewrite(text)
    if (changed eq text) delegated(method, arguments)
    else {
      try delegated(method, changed +: arguments.tail)
      catch { case e: ParseException if e.command.contains(changed) => throw e.withCommand(text) } // as it was written
    }
  }

  // As Spark's parser does it first of all, for `${name}`.
  private def substituted(sql: String): String =
    if (sql.contains("${")) new VariableSubstitution().substitute(sql) else sql

  private def delegated(method: Method, arguments: Array[AnyRef]): AnyRef =
    try method.invoke(delegate, Option(arguments).toSeq.flatten: _*) // none are null
    catch { case e: InvocationTargetException => throw e.getTargetException }
}
